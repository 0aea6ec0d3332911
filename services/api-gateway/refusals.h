// Refusals on their way to the audit trail, folded: how often whom was refused what. Bounded, so that a flood of them is one row that counts.
//
// Filled by the threads of the HTTP server, emptied by the runner's loop; so it has a mutex, as the token cache has, held for a search in
// 63 entries. Where auth does not answer, what was taken comes back by refusals_add.
#ifndef HD_GATEWAY_REFUSALS_H
#define HD_GATEWAY_REFUSALS_H

#include <stddef.h>
#include <stdint.h>

#define REFUSALS_MAX 64
#define REFUSAL_TEXT 160

struct refusal {
    char tenant[65], actor[REFUSAL_TEXT], action[REFUSAL_TEXT], detail[REFUSAL_TEXT]; // what is alike in these is one
    char address[48], trace[65];                                                      // of the last one
    int64_t count;
};
struct refusals;
struct refusals *refusals_new(void); // refusals_free
void refusals_free(struct refusals *refusals);
// One that finds no room is counted as "various", of nobody.
void refusals_add(struct refusals *refusals, const struct refusal *refusal);
// Takes all of them; how many.
size_t refusals_take(struct refusals *refusals, struct refusal ret[REFUSALS_MAX]);

#endif
