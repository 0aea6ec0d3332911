// Which failures are tried again, when; and which are allowed. Pure.
#include "services/orchestrator/advance.h"

#define CAUSE(x) HODEI__V1__CAUSE__CAUSE_##x
#define ON(x) HODEI__V1__RETRY__ON__ON_##x

static int kind_of(int cause) {
    switch (cause) {
    case CAUSE(EXIT_CODE):
        return ON(EXIT_CODE);
    case CAUSE(SIGNAL):
        return ON(SIGNAL);
    case CAUSE(OOM):
        return ON(OOM);
    case CAUSE(TIMEOUT):
        return ON(TIMEOUT);
    case CAUSE(IMAGE_PULL):
        return ON(IMAGE_PULL);
    case CAUSE(EXPRESSION):
    case CAUSE(OUTPUTS):
    case CAUSE(PROCESSES):
        return ON(UNSPECIFIED); // it would fail again
    default:
        return ON(INFRA);
    }
}

bool orc_retry_wanted(const Hodei__V1__Retry *retry, uint32_t done, const struct orc_attempt_news *news) {
    int kind = kind_of(news->cause);
    if (!retry || done >= retry->limit || kind == ON(UNSPECIFIED))
        return false;
    if (retry->n_on == 0 && retry->n_exit_codes == 0)
        return true;
    for (size_t i = 0; i < retry->n_on; i++)
        if ((int)retry->on[i] == kind)
            return true;
    for (size_t i = 0; i < retry->n_exit_codes; i++)
        if (kind == ON(EXIT_CODE) && retry->exit_codes[i] == news->exit_code)
            return true;
    return false;
}

int64_t orc_retry_delay_ms(const Hodei__V1__Retry *retry, uint32_t done) {
    int64_t delay = retry->initial_ms;
    for (uint32_t i = 0; i < done && delay < retry->max_ms; i++)
        if (__builtin_mul_overflow(delay, (int64_t)retry->factor_milli, &delay))
            return retry->max_ms;
        else
            delay /= 1000;
    return delay < retry->max_ms ? delay : retry->max_ms;
}

bool orc_failure_allowed(const Hodei__V1__CompiledJob *spec, int exit_code) {
    if (!spec->allow_failure || spec->n_allow_exit_codes == 0)
        return spec->allow_failure;
    for (size_t i = 0; i < spec->n_allow_exit_codes; i++)
        if (spec->allow_exit_codes[i] == exit_code)
            return true;
    return false;
}
