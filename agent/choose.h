// What an agent's settings say of itself. HD_INVALID names the setting; else it is said what the machine does not have.
#ifndef HD_AGENT_CHOOSE_H
#define HD_AGENT_CHOOSE_H

#include "base/settings.h"

#define CHOOSE_NAME 80
#define CHOOSE_PROGRAM 4200

enum on_stop { ON_STOP_DRAIN, ON_STOP_LEAVE, ON_STOP_STOP };

// `name`, or the machine's.
enum hd_status choose_name(const struct hd_settings *settings, struct hd_err *err, char ret[CHOOSE_NAME]) HD_MUST_USE;
// `shim`, or hodei-shim beside this program. `ret` names it also where it cannot be run.
enum hd_status choose_shim(const struct hd_settings *settings, struct hd_err *err,
                           char ret[CHOOSE_PROGRAM]) HD_MUST_USE;
enum hd_status choose_on_stop(const struct hd_settings *settings, struct hd_err *err, enum on_stop *ret) HD_MUST_USE;
// Bytes of output that are kept while nobody takes it, at least 4 MiB.
enum hd_status choose_spool(const struct hd_settings *settings, struct hd_err *err, uint64_t *ret) HD_MUST_USE;

#endif
