// Inside the runner only: what the loop of a process and the service share.
#ifndef HD_SERVICE_SERVICE_IMPL_H
#define HD_SERVICE_SERVICE_IMPL_H

#include "service/service.h"

struct hd_service *service_make(const struct hd_service_def *def, const struct hd_service_env *env);

// What a descriptor on the loop's epoll belongs to.
enum loop_kind { LOOP_BUS, LOOP_SIGNAL, LOOP_WATCH, LOOP_HEALTH };
static inline uint64_t loop_key(enum loop_kind kind, int fd) {
    return (uint64_t)kind << 32 | (uint32_t)fd;
}
static inline enum loop_kind loop_key_kind(uint64_t key) {
    return (enum loop_kind)(key >> 32);
}
static inline int loop_key_fd(uint64_t key) {
    return (int)(uint32_t)key;
}

#endif
