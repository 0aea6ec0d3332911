// Guessing passwords is made slow without giving anybody the means to lock others out. Pure.
//
// Failures are counted by account and address prefix. A prefix that fails AUTH_FREE_FAILURES times in a row is refused for a while that
// doubles, up to a quarter of an hour: it alone, for this account alone. A prefix from which the account has logged in before is never
// refused, only slowed. Where an account fails from many places, logins from places that are new to it are slowed, not refused. Names
// that are nobody's are counted in the same way, so that the answers are the same.
#ifndef HD_AUTH_THROTTLE_H
#define HD_AUTH_THROTTLE_H

#include <stdbool.h>
#include <stdint.h>

#define AUTH_FREE_FAILURES 5
#define AUTH_LOCK_FIRST_MS (30 * 1000)
#define AUTH_LOCK_MAX_MS (15 * 60 * 1000)
#define AUTH_FAILURES_FORGOTTEN_MS (60 * 60 * 1000) // after the last of them
#define AUTH_ACCOUNT_FAILURES 20                    // from everywhere, from which on new places are slowed
#define AUTH_SLOW_MS 2000

struct auth_guesses {         // of an account at a prefix
    int64_t failures;         // in a row
    int64_t failed_at_ms;     // the last of them
    int64_t good_at_ms;       // the last login that went well; 0: none
    int64_t account_failures; // from everywhere, not forgotten
};
struct auth_throttle {
    int64_t refuse_ms; // > 0: not now, but after this time
    int64_t delay_ms;  // else the answer comes no sooner
    bool known;        // the account has logged in from here before
};
struct auth_throttle auth_throttle_decide(const struct auth_guesses *guesses, int64_t now_ms);

#endif
