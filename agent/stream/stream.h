// The work stream: what becomes of assignments and cancels. Pure; session_work and session_cancel_all of session.h live here.
//
// An assignment is started at most once: one that is held is known already, one with a tombstone or at the floor is answered and
// not started, one that does not fit is refused. A cancel that comes first leaves a tombstone and is confirmed at once.
#ifndef HD_AGENT_STREAM_H
#define HD_AGENT_STREAM_H

#include "agent/stream/session.h"

#endif
