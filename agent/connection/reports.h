// Reports of attempts, kept until the orchestrator wants no more of them: none → started → ended → done.
//
// A start waits a moment for its end, so that a short job costs one report. What was sent and is not acknowledged is sent again
// after 5 s. Number 1 is the start, 2 the end, so that they are the same after a restart. Pure.
#ifndef HD_AGENT_REPORTS_H
#define HD_AGENT_REPORTS_H

#include "agent/stream/session.h"

void reports_started(struct session *session, struct attempt *attempt);
void reports_ended(struct session *session, struct attempt *attempt);
// Takes over a copy of what the job gives to others.
void reports_keep_outputs(struct session *session, struct attempt *attempt, Hodei__V1__EnvVar **outputs, size_t n);
void reports_record_end(struct session *session, struct attempt *attempt); // into the journal
void reports_pack_end(struct hd_arena *arena, const struct attempt *attempt, uint8_t **ret, size_t *ret_len);
void reports_restore_end(struct session *session, struct attempt *attempt, const Hodei__V1__AttemptReport *report);
void reports_acked(struct session *session, struct attempt *attempt, uint32_t number, bool final);
// The owner has decided otherwise: nothing more is told.
void reports_unwanted(struct session *session, struct attempt *attempt);

// What is due moves to what is to be sent.
void reports_due(struct session *session);
// The next message of at most REPORTS_MAX reports, in the arena of the turn; NULL: nothing is to be sent.
#define REPORTS_MAX 1000
Hodei__V1__AttemptReports *reports_take(struct session *session);

#endif
