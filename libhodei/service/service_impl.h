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

// /livez, /readyz, /metrics on the loop itself, without a thread: that /livez answers proves that the loop turns.
struct health;
// Listens on host:port; HD_INVALID names what is wrong.
enum hd_status health_new(const char *address, struct hd_service *service, int epoll_fd, struct hd_err *err,
                          struct health **ret) HD_MUST_USE;
void health_free(struct health *health);
void health_event(struct health *health, int fd, uint32_t events);

#endif
