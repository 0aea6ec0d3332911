// What an agent knows of its attempts, and what it decides about them. Pure: no sockets, files or clocks, so that the simulator
// and the tests run it too.
//
// Events go in (session_work, session_shim, session_acks, …) between session_begin and the end of a turn; effects gather in
// `fx`, and the caller carries them out in this order: write fx.journal (and wait for the disk where fx.sync), send fx.shim,
// acknowledge the work, send what reports_take and logs_take give. Where the journal cannot be written, session_undo takes back
// what was taken in this turn, and the work is not acknowledged.
//
//   held:  with the shim → ended → settled (a tombstone)
//
// One that was taken and that no shim knows is LOST, since it may have run, unless the very shim that it was for is there and has
// never heard of it: then it never started, and is refused.
//
// An attempt is held until the orchestrator wants no more reports of it and its log is stored whole. A tombstone stays for 10
// minutes, or until there are too many; the floor rises to the ids of those that go, and nothing at or below the floor is started.
// So no attempt starts twice.
// The session owns its attempts; fx lives in the arena of the turn.
#ifndef HD_AGENT_SESSION_H
#define HD_AGENT_SESSION_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/map.h"
#include "base/metrics.h"
#include "base/resources.h"
#include "base/uuid.h"
#include "hodei/v1/flow.pb-c.h"
#include "hodei/v1/shim.pb-c.h"

#define SESSION_HELD_MAX 8000        // attempts, ended ones included; a heartbeat names at most 10000
#define SESSION_TOMBSTONES_MAX 50000 // in 4 MiB; no assignment waits for so many later ones
#define SESSION_TOMBSTONE_MS (10 * 60 * 1000)
#define SESSION_AGAIN_MS 5000 // what is not acknowledged is said again
#define SESSION_FOLD_MS 20    // a start waits that long for its end, to be told in one report
#define SESSION_NEVER INT64_MAX

struct attempt;
struct attempt_queue {
    struct attempt *head, *tail;
};
struct attempt_link {
    struct attempt_queue *queue; // NULL: in none
    struct attempt *next, *prev;
};
enum attempt_chain { CHAIN_REPORT, CHAIN_LOG, CHAINS }; // an attempt is in at most one queue of each

struct log_mark { // the end of a chunk that was sent
    uint64_t frame, byte;
};
#define LOG_MARKS 16
struct attempt_log {                  // made when the attempt writes something
    uint64_t known_frame, known_byte; // ends of what is in the spool
    uint64_t sent_frame, sent_byte;
    uint64_t acked_frame, acked_byte;
    uint64_t dropped_frame, dropped_byte; // what is below and not stored is gone: told as a gap
    struct log_mark marks[LOG_MARKS];
    unsigned n_marks;
    struct log_mark splits
        [LOG_MARKS]; // ends of chunks that went and were not acknowledged: the owner may have them up to one of these
    unsigned n_splits;
    int64_t progress_ms; // monotonic: of the last acknowledgement or sending
    bool orphan;         // no shim has it: the file is read to its end
    bool complete;       // nothing comes beyond known_*
    bool hole;           // what is next was dropped, and the shim has not said yet up to where
};

enum report_state {
    REPORT_NONE,
    REPORT_STARTED, // the start is to be told
    REPORT_TOLD,    // and is acknowledged
    REPORT_ENDED,   // the end is to be told
    REPORT_DONE     // nothing more is wanted
};
struct attempt {
    struct attempt_link links[CHAINS];
    struct attempt *next_turn; // in session->made or session->dead
    struct hd_uuid id;
    char text[HD_UUID_TEXT];
    uint8_t *detail; // packed Assignment without steps and env; NULL where it was never one of ours
    size_t detail_len;

    struct hd_resources asks; // taken until its end
    bool started, ended;
    bool cancelled;       // the orchestrator asked
    bool stopped;         // the agent leaves and takes its jobs along
    bool fresh;           // in session->made: of this turn
    bool taken, buried;   // it was assigned and taken; it has a tombstone of this turn
    pid_t pid;            // of the step that runs, also its process group; 0: none
    int64_t steps_cpu_ms; // of its steps that have ended
    bool dead;            // to be freed after the turn
    unsigned hello;       // the shim named it in that hello
    uint64_t shim;        // it was for that one; 0: not known
    enum report_state report;
    int64_t report_due_ms; // monotonic: of CHAIN_REPORT

    Hodei__V1__AttemptState state; // of the end
    Hodei__V1__Cause cause;
    int32_t exit_code, signal;
    char *message; // NULL: none
    int64_t started_at_ms, ended_at_ms;
    int64_t user_ms, system_ms, max_rss_bytes;
    uint64_t log_frames;
    uint8_t *outputs; // packed AttemptReport with nothing else in it; NULL: none
    size_t outputs_len;
    struct attempt_log *log;
};

struct tombstone {
    struct hd_uuid id;
    int64_t since_ms; // monotonic
};

struct effects {
    struct hd_buf journal;
    bool sync;
    Hodei__V1__ShimMessage shim;
    size_t cap_jobs, cap_cancels, cap_forgets, cap_acks;
};

enum session_metric {
    SESSION_M_TAKEN,
    SESSION_M_AGAIN,
    SESSION_M_REFUSED,
    SESSION_M_FOREIGN,
    SESSION_M_CANCELS,
    SESSION_M_ENDED,
    SESSION_M_LOST,
    SESSION_M_SETTLED,
    SESSION_M_LIVE,
    SESSION_M_HELD,
    SESSION_M_TOMBSTONES,
    SESSION_M_GAPS,
    SESSION_M_UNFIT,
    SESSION_M_COUNT
};
extern struct hd_metric session_metrics[SESSION_M_COUNT];

struct executor_env;
struct session {
    const char *worker; // borrowed
    char text[HD_UUID_TEXT];
    int64_t incarnation; // as the registry says; 0: it does not
    unsigned slots;
    const struct executor_env *env;         // borrowed
    struct hd_map attempts;                 // held ones, by session_key
    unsigned live;                          // not ended
    const char *unfit;                      // why nothing new is taken, in words; "": it is. Borrowed
    struct hd_resources capacity, occupied; // occupied: by those that have not ended
    bool spools_left; // an attempt was settled that no shim knows: who can reach its spool removes it, and resets this
    struct hd_map tombstones; // session_key → 1: settled, 2: never started
    struct tombstone *stones; // ring, oldest first
    size_t first_stone, n_stones, cap_stones;
    int64_t floor_ms;

    struct attempt_queue folding; // starts that wait for their end, by due time
    struct attempt_queue unsent;  // reports to send now
    struct attempt_queue sent;    // reports not acknowledged, by due time
    struct attempt_queue log_ready, log_sent;

    bool shim_up;   // its hello has come
    unsigned hello; // how many have
    uint64_t shim;  // which one it is; 0: not told
    // Of the turn:
    struct hd_arena *arena;
    struct hd_now now;
    struct effects fx;
    struct attempt *made, *dead;
};

void session_init(struct session *session, struct hd_uuid id, const char *worker, unsigned slots,
                  const struct executor_env *env);
void session_release(struct session *session);

// A turn. The arena must live to its end.
void session_begin(struct session *session, struct hd_arena *arena, struct hd_now now);
void session_undo(struct session *session);
void session_carried_out(struct session *session); // what fx had is done: it begins anew

// One record of the journal at the start, in order; unknown kinds are passed over.
void session_replay(struct session *session, const Hodei__V1__JournalRecord *record);
// Raises the floor to now: the journal was damaged, and what it has lost must not be started again.
void session_distrust(struct session *session);
// All that a new journal must hold, into `out`.
void session_snapshot(const struct session *session, struct hd_buf *out);

// stream.c. False: what stands in it must come again, since nothing may start now; its cancels were carried out.
bool session_work(struct session *session, const Hodei__V1__Work *work, bool may_start);
void session_cancel_all(struct session *session); // the agent leaves and takes its jobs along

// The shim: what it says, and that it went.
void session_shim(struct session *session, const Hodei__V1__ShimMessage *msg);
void session_shim_gone(struct session *session);

void session_acks(struct session *session, const Hodei__V1__Acks *acks);
// When something is due: mono ms.
int64_t session_due_ms(const struct session *session);
// Texts of all attempts that a heartbeat names, in the arena.
char **session_held(const struct session *session, size_t *ret_n);

// --- between the parts ---
uint64_t session_key(struct hd_uuid id);
struct attempt *session_find(const struct session *session, struct hd_uuid id);
// It takes a slot and what it asks for (NULL: nothing) until its end.
struct attempt *session_add(struct session *session, struct hd_uuid id, const Hodei__V1__Resources *asks);
void session_made(struct session *session,
                  struct attempt *attempt); // added by what has come: session_undo takes it back
// 0: none.
int session_tombstone(const struct session *session, struct hd_uuid id);
void session_bury(struct session *session, struct hd_uuid id, bool settled); // idempotent
void session_record(struct session *session, const struct hd_uuid *id, Hodei__V1__JournalRecord__Kind kind,
                    const void *data, size_t len);
// The end of an attempt: it no longer takes a slot, and its end is to be told. `message` is copied.
void session_end(struct session *session, struct attempt *attempt, Hodei__V1__AttemptState state,
                 Hodei__V1__Cause cause, const char *message);
// That it is taken, on the disk before anything comes of it. `assignment` is packed.
void session_record_taken(struct session *session, const struct attempt *attempt, const void *assignment, size_t len);
// Ends it as LOST: no shim knows of it.
void session_lose(struct session *session, struct attempt *attempt);
void session_settle(struct session *session, struct attempt *attempt); // where nothing more is wanted of it
void session_shim_cancel(struct session *session, const char *attempt);
void session_shim_forget(struct session *session, const char *attempt);

void queue_add(struct attempt_queue *queue, enum attempt_chain chain, struct attempt *attempt); // leaves its old one
void queue_leave(enum attempt_chain chain, struct attempt *attempt);

#endif
