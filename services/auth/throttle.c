#include "services/auth/throttle.h"

static int64_t lock_ms(int64_t failures) {
    int64_t ms = AUTH_LOCK_FIRST_MS;

    for (int64_t i = AUTH_FREE_FAILURES; i < failures && ms < AUTH_LOCK_MAX_MS; i++)
        ms *= 2;
    return ms < AUTH_LOCK_MAX_MS ? ms : AUTH_LOCK_MAX_MS;
}

struct auth_throttle auth_throttle_decide(const struct auth_guesses *guesses, int64_t now_ms) {
    struct auth_throttle throttle = {.known = guesses->good_at_ms > 0};
    bool fails = guesses->failures >= AUTH_FREE_FAILURES && now_ms < guesses->failed_at_ms + AUTH_FAILURES_FORGOTTEN_MS;

    if (fails && throttle.known) {
        throttle.delay_ms = AUTH_SLOW_MS;
    } else if (fails) {
        int64_t left_ms = guesses->failed_at_ms + lock_ms(guesses->failures) - now_ms;
        throttle.refuse_ms = left_ms > 0 ? left_ms : 0;
    }
    if (!throttle.known && guesses->account_failures >= AUTH_ACCOUNT_FAILURES)
        throttle.delay_ms = AUTH_SLOW_MS;
    return throttle;
}
