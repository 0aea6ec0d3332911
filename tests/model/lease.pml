/*
 * Placement, leases and lost workers, for one job and two workers.
 *
 * What is modelled: commits of the orchestrator and of the registry (each is atomic), the work streams (what is in them may be late by any
 * time, come again and again, or be wiped with all else), heartbeats and joins with the time that their answers take, losses that are told late and
 * told again, agents and machines that stop, and a scheduler that knows of the fleet what was once true. Time passes in ticks; a lease has
 * LEASE of them from its sending, and the registry waits MARGIN longer, from when it wrote.
 *
 * What is not: quota, groups of several jobs (an exclusive job's next attempt is its successor), logs, results that differ.
 *
 * Compiled with POLICY=0 requeue, 1 fail, 2 hold; EXCLUSIVE=1: of a concurrency group. A MUTANT breaks one rule, and must be caught.
 */

#ifndef POLICY
#define POLICY 0
#endif
#ifndef EXCLUSIVE
#define EXCLUSIVE 0
#endif
#ifndef BOTH
#define BOTH 0
#endif
#ifndef MUTANT
#define MUTANT 0
#endif
#define NO_INCARNATION (MUTANT == 1) /* agents start what was assigned before a loss */
#define NO_LATE_CHECK  (MUTANT == 2) /* a loss that is told again counts for whatever there is */
#define FROM_ARRIVAL   (MUTANT == 3) /* a lease counts from when the answer arrives */
#define NO_MARGIN      (MUTANT == 4) /* a worker is lost when its lease ends by the registry's clock, less one */
#define NO_RECORD      (MUTANT == 5) /* an agent forgets what it has taken */
#define NO_FENCE       (MUTANT == 6) /* an exclusive job goes on after the lease */
#define NO_TOMBSTONE   (MUTANT == 7) /* a cancel for what has not come is not kept */
#define NO_LEASE       (MUTANT == 8) /* an agent starts what comes without a lease */
#define NO_ADOPTION    (MUTANT == 9) /* what was placed before a loss, and not decided by it, is assigned again as it is */

#define W 2      /* workers */
#define N 2      /* attempts at most */
#ifndef LEASE
#define LEASE 1  /* ticks */
#endif
#define MARGIN 1
#define LOSSES 2 /* in all, to bound incarnations */
#define STOPS 1  /* of agents and machines */

mtype = { READY, ACTIVE, CANCELLING, SUCCEEDED, FAILED, CANCELLED };             /* the job */
mtype = { NONE, ASSIGNED, RUNNING, DONE, LOST, REFUSED, STOPPED };               /* an attempt, and what an agent has of one */
mtype = { NEW, ONLINE, GONE };                                                   /* a worker, as the registry has it */

/* The orchestrator's tables. */
mtype job = READY;
mtype attempt[N] = NONE; /* NONE: not made yet */
byte on[N], placed[N];   /* its worker, and the incarnation that it was placed with */
byte made;               /* attempts */
byte current;            /* the job's */
bool held_for[N];        /* its worker is gone, and it is waited for */
byte lost_to[W];         /* a session is gone up to this incarnation; 0: it is not */

/* The registry's, and what it has under way. */
mtype worker[W] = NEW;
byte incarnation[W];
byte deadline[W];        /* ticks until it is lost */
bool untold[W];          /* the orchestrator has not answered */
byte telling[W];         /* a loss up to this incarnation is under way, or was told and may come again */

/* What schedulers know: any state of the fleet that once was. */
byte known[W];

/* What is under way to workers. An assignment of incarnation 0 is none. */
byte assignment[N];
bool cancel[N];

/* Agents. */
bool up[W], joined[W];
byte mine[W];            /* the incarnation that it was told */
byte lease[W];           /* ticks left */
byte fence[W];           /* the same, as the shim was told, which outlives the agent */
byte asking[W];          /* 0 nothing, 1 a join, 2 a heartbeat under way to the registry; 3, 4: their answers */
byte answer_lease[W];    /* ticks that are left of it when it arrives */
byte answer_mine[W];
mtype has[N] = NONE;     /* of each attempt its worker has: NONE, RUNNING, DONE, LOST, STOPPED or REFUSED (tombstones too) */

byte started[N];
byte losses, stops;
bool confirmed;          /* the cancel, to whoever asked */
bool asked_to_cancel;

#define LIVE(a) (attempt[a] == ASSIGNED || attempt[a] == RUNNING)
#define AGAIN (made < N)

/* An attempt has ended, and its job with it, or not. */
inline ended(a, how, then) {
    attempt[a] = how;
    held_for[a] = false;
    if
    :: current == a && job == CANCELLING -> job = (how == DONE -> SUCCEEDED : CANCELLED); confirmed = (how != DONE)
    :: current == a && job == ACTIVE -> job = then
    :: else
    fi
}

/* An attempt is over without a word from its worker. */
inline lose(a) {
    if
    :: POLICY == 2 && job == ACTIVE && current == a -> held_for[a] = true
    :: else -> ended(a, LOST, (POLICY == 0 && AGAIN -> READY : FAILED))
    fi
}

inline start(a) {
    started[a]++;
    has[a] = RUNNING;
    assert(started[a] == 1);                                        /* an attempt starts once */
    assert(LIVE(a));                                                /* nothing that is decided starts */
    assert(!confirmed);                                             /* nothing starts after its cancel was confirmed */
    assert(!EXCLUSIVE || has[1 - a] != RUNNING);                    /* no successor overlaps */
    assert(POLICY != 1 || !started[1 - a])                          /* no second start */
}

inline no_answer(w) {
    asking[w] = 0;
    answer_lease[w] = 0;
    answer_mine[w] = 0
}

inline apart(w) {
    joined[w] = false;
    mine[w] = 0;
    lease[w] = 0;
    no_answer(w)
}

inline leased(w) {
    lease[w] = (FROM_ARRIVAL -> LEASE : answer_lease[w]);
    fence[w] = (EXCLUSIVE -> lease[w] : 0);
    no_answer(w)
}

/* What was recorded and runs no more. */
inline stop(a, w) {
    if
    :: has[a] == RUNNING && on[a] == w -> has[a] = (NO_RECORD -> NONE : LOST)
    :: else
    fi
}

inline place(w) {
    current = made;
    made++;
    attempt[current] = ASSIGNED;
    on[current] = w;
    placed[current] = known[w];
    assignment[current] = known[w];
    job = ACTIVE
}

/* The worker of an attempt beats in its incarnation. */
#define HEARD(a) (attempt[a] != NONE && up[on[a]] && worker[on[a]] == ONLINE && lease[on[a]] > 0 && mine[on[a]] == incarnation[on[a]])
#define PATIENCE (NO_MARGIN -> LEASE - 1 : LEASE + MARGIN)

/* --- the orchestrator --- */

proctype jobs() {
    do
    /* A placement, by what its scheduler knows. */
    :: atomic { job == READY && AGAIN && known[0] > 0 -> place(0) } /* it may not see yet what is lost */
    :: atomic { job == READY && AGAIN && known[1] > 0 -> place(1) }
    /* Somebody cancels it. */
    :: atomic { !asked_to_cancel && job == READY -> asked_to_cancel = true; job = CANCELLED; confirmed = true }
    :: atomic { !asked_to_cancel && job == ACTIVE ->
        asked_to_cancel = true;
        job = CANCELLING;
        if
        :: held_for[current] -> ended(current, LOST, FAILED)
        :: else -> cancel[current] = true
        fi }
    /* Somebody decides for a worker that is gone. */
    :: atomic { job == ACTIVE && held_for[current] -> ended(current, LOST, (AGAIN -> READY : FAILED)) }
    :: atomic { job == ACTIVE && held_for[current] -> ended(current, LOST, FAILED) }
    od
}

proctype attempts(byte a) {
    do
    /* A report, of what the agent has of it. It comes again until it is taken, so it may come at any time. */
    :: atomic { attempt[a] == ASSIGNED && up[on[a]] && has[a] == RUNNING -> attempt[a] = RUNNING; held_for[a] = false }
    :: atomic { LIVE(a) && up[on[a]] && has[a] == DONE -> ended(a, DONE, SUCCEEDED) }
    :: atomic { LIVE(a) && up[on[a]] && has[a] == STOPPED -> ended(a, STOPPED, FAILED) }
    :: atomic { LIVE(a) && up[on[a]] && has[a] == LOST -> ended(a, LOST, (POLICY == 0 && AGAIN -> READY : FAILED)) }
    :: atomic { LIVE(a) && up[on[a]] && has[a] == REFUSED -> ended(a, REFUSED, (AGAIN -> READY : FAILED)) }
    /* The sweep. */
    :: atomic { LIVE(a) && placed[a] <= lost_to[on[a]] && !held_for[a] -> lose(a) }
    /* A heartbeat, which is passed on: the worker is back; assigned again, cancelled again, stopped. */
    :: atomic { HEARD(a) && LIVE(a) && placed[a] < incarnation[on[a]] && !NO_ADOPTION -> held_for[a] = false; placed[a] = incarnation[on[a]] }
    :: atomic { HEARD(a) && attempt[a] == ASSIGNED && has[a] == NONE && job == ACTIVE && current == a &&
                assignment[a] != incarnation[on[a]] && (placed[a] == incarnation[on[a]] || NO_ADOPTION) ->
        assignment[a] = incarnation[on[a]] }
    :: atomic { HEARD(a) && lost_to[on[a]] > 0 && lost_to[on[a]] < incarnation[on[a]] -> lost_to[on[a]] = 0 }
    :: atomic { HEARD(a) && LIVE(a) && job == CANCELLING && current == a && !cancel[a] -> cancel[a] = true }
    :: atomic { HEARD(a) && attempt[a] == LOST && has[a] == RUNNING && !cancel[a] -> cancel[a] = true }
    od
}

/* A loss is told, for the first time or again. */
inline told(a, w) {
    if
    :: LIVE(a) && on[a] == w && (NO_LATE_CHECK || placed[a] <= telling[w]) -> lose(a)
    :: else
    fi
}

/* --- the registry, and what it says --- */

proctype registry(byte w) {
    do
    :: atomic { asking[w] == 1 && worker[w] == GONE && untold[w] -> no_answer(w) } /* not before its loss is known */
    :: atomic { asking[w] == 1 && (worker[w] != GONE || !untold[w]) ->
        incarnation[w] = incarnation[w] + (worker[w] != ONLINE -> 1 : 0);
        worker[w] = ONLINE;
        deadline[w] = PATIENCE;
        answer_mine[w] = incarnation[w];
        asking[w] = 3 }
    :: atomic { asking[w] == 2 && worker[w] == ONLINE -> deadline[w] = PATIENCE; asking[w] = 4 }
    :: atomic { asking[w] == 2 && worker[w] != ONLINE -> apart(w) } /* it is to join again */
    :: atomic { worker[w] == ONLINE && deadline[w] == 0 && losses < LOSSES ->
        losses++;
        worker[w] = GONE;
        untold[w] = true;
        telling[w] = incarnation[w] }
    :: atomic { telling[w] > 0 ->
        lost_to[w] = (telling[w] > lost_to[w] -> telling[w] : lost_to[w]);
        told(0, w);
        told(1, w);
        if
        :: untold[w] && telling[w] == incarnation[w] -> untold[w] = false /* the answer arrives */
        :: true                                                           /* it does not */
        fi }
    /* A scheduler hears of the fleet. It may do so late: until then it knows what was. */
    :: atomic { worker[w] == ONLINE && known[w] != incarnation[w] -> known[w] = incarnation[w] }
    od
}

/* --- agents --- */

proctype agent(byte w) {
    do
    :: atomic { up[w] && asking[w] == 0 -> asking[w] = (joined[w] -> 2 : 1); answer_lease[w] = LEASE }
    :: atomic { up[w] && asking[w] == 3 -> joined[w] = true; mine[w] = answer_mine[w]; leased(w) }
    :: atomic { up[w] && asking[w] == 4 -> leased(w) }
    :: atomic { asking[w] > 0 -> no_answer(w) } /* the question or the answer is lost */
    :: atomic { up[w] && stops < STOPS && !NO_RECORD -> stops++; up[w] = false; apart(w) }
    :: atomic { up[w] && stops < STOPS -> stops++; up[w] = false; apart(w); stop(0, w); stop(1, w) } /* the machine */
    :: atomic { !up[w] -> up[w] = true }
    od
}

proctype holding(byte a) {
    do
    /* An assignment comes, for the first time or again: it stays in the stream. */
    :: atomic { assignment[a] > 0 && up[on[a]] && has[a] == NONE && (lease[on[a]] > 0 || NO_LEASE) ->
        if
        :: assignment[a] != mine[on[a]] && !NO_INCARNATION -> has[a] = REFUSED
        :: else -> start(a)
        fi }
    /* A cancel, which is said again while the job is to be cancelled. What has not come is kept in mind. */
    :: atomic { cancel[a] && up[on[a]] ->
        cancel[a] = false;
        if
        :: has[a] == RUNNING || (has[a] == NONE && !NO_TOMBSTONE) -> has[a] = STOPPED
        :: has[a] == NONE && NO_TOMBSTONE && LIVE(a) -> attempt[a] = STOPPED; job = CANCELLED; confirmed = true
        :: else
        fi }
    :: atomic { has[a] == RUNNING -> has[a] = DONE } /* also while the agent is down */
    od
}

/* --- time, and what is lost --- */

inline tick(w) {
    deadline[w] = (deadline[w] > 0 -> deadline[w] - 1 : 0);
    answer_lease[w] = (answer_lease[w] > 0 -> answer_lease[w] - 1 : 0);
    lease[w] = (lease[w] > 0 -> lease[w] - 1 : 0);
    fence[w] = (fence[w] > 0 -> fence[w] - 1 : 0)
}

inline fenced(a) {
    if
    :: EXCLUSIVE && !NO_FENCE && has[a] == RUNNING && fence[on[a]] == 0 -> has[a] = STOPPED
    :: else
    fi
}

proctype clock() {
    do
    :: atomic {
        tick(0);
        if
        :: BOTH -> tick(1)
        :: else
        fi;
        fenced(0);
        fenced(1) }
    :: atomic { assignment[0] || assignment[1] || cancel[0] || cancel[1] ->
        assignment[0] = 0;
        assignment[1] = 0;
        cancel[0] = false;
        cancel[1] = false } /* all streams are wiped */
    od
}

init {
    atomic {
        up[0] = true;
        up[1] = true;
        run jobs();
        run attempts(0);
        run attempts(1);
        run registry(0);
        run agent(0);
        if
        :: BOTH -> run registry(1); run agent(1)
        :: else -> /* the other one is always there */
            worker[1] = ONLINE;
            incarnation[1] = 1;
            known[1] = 1;
            mine[1] = 1;
            joined[1] = true;
            lease[1] = LEASE;
            fence[1] = LEASE
        fi;
        run holding(0);
        run holding(1);
        run clock()
    }
}
