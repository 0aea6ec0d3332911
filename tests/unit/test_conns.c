// Who may hold a connection, on sockets of this test: a cut is seen at the other end.
#include "tests/unit/test.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/uuid.h"
#include "services/api-gateway/conns.h"

struct line {
    int ours, theirs;
};

static struct sockaddr_in from(const char *address, int port) {
    struct sockaddr_in made = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    inet_pton(AF_INET, address, &made.sin_addr);
    return made;
}

static struct line line_open(void) {
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) != 0)
        abort();
    return (struct line){fds[0], fds[1]};
}

static void line_close(struct line line) {
    close(line.ours);
    close(line.theirs);
}

static bool admit(struct conns *conns, struct line line, const char *address, int port, int64_t now) {
    struct sockaddr_in peer = from(address, port);
    bool yes = conns_admit(conns, line.ours, (const struct sockaddr *)&peer, now);
    conns_bind_peer(conns, (const void *)(intptr_t)port, address, port);
    return yes;
}

#define ON(port) ((const void *)(intptr_t)(port))

// Whether ours reads the end, though the other end has closed nothing.
static bool reads_end(struct line line) {
    char byte;
    return recv(line.ours, &byte, 1, MSG_DONTWAIT) == 0;
}

static bool writes(struct line line) {
    return send(line.ours, "x", 1, MSG_DONTWAIT | MSG_NOSIGNAL) == 1;
}

TEST(an_address_gets_so_many_and_no_more) {
    struct conns *conns = conns_new(100, 2, "192.0.2.9, 192.0.2.10");
    struct line line = line_open();
    CHECK(admit(conns, line, "192.0.2.1", 1, 0));
    CHECK(admit(conns, line, "192.0.2.1", 2, 0));
    CHECK(!admit(conns, line, "192.0.2.1", 3, 0));
    CHECK(admit(conns, line, "192.0.2.2", 4, 0));
    for (int i = 0; i < 5; i++) {
        CHECK(admit(conns, line, "127.0.0.1", 10 + i, 0));
        CHECK(admit(conns, line, "192.0.2.10", 20 + i, 0));
    }
    conns_left(conns, ON(1));
    CHECK(admit(conns, line, "192.0.2.1", 5, 0));
    CHECK_INT(conns_counts(conns).refused, 1);
    CHECK_INT(conns_open(conns), 13);
    conns_free(conns);
    line_close(line);
}

TEST(a_head_has_its_time) {
    struct conns *conns = conns_new(100, 0, "");
    struct line line = line_open();
    admit(conns, line, "192.0.2.1", 1, 1000);
    conns_sweep(conns, 1000 + CONNS_GRACE_MS - 1);
    CHECK(!reads_end(line) && !conns_is_cut(conns, ON(1)));
    conns_sweep(conns, 1000 + CONNS_GRACE_MS);
    CHECK(reads_end(line) && !writes(line) && conns_is_cut(conns, ON(1)));
    CHECK_INT(conns_counts(conns).slow, 1);
    conns_left(conns, ON(1));
    CHECK_INT(conns_open(conns), 0);
    conns_free(conns);
    line_close(line);
}

TEST(a_body_has_time_for_what_has_come_and_is_answered) {
    struct conns *conns = conns_new(100, 0, "");
    struct line line = line_open();
    admit(conns, line, "192.0.2.1", 1, 0);
    conns_phase(conns, ON(1), CONN_BODY, 0, 0);
    conns_phase(conns, ON(1), CONN_BODY, 2 * CONNS_BYTES_PER_S, 9000);
    conns_sweep(conns, CONNS_GRACE_MS + 1999);
    CHECK(!reads_end(line));
    conns_sweep(conns, CONNS_GRACE_MS + 2000);
    CHECK(reads_end(line) && writes(line)); // the answer that says so may go out
    conns_sweep(conns, CONNS_GRACE_MS + 2000 + CONNS_LAST_MS);
    CHECK(!writes(line));
    CHECK_INT(conns_counts(conns).slow, 1);
    conns_free(conns);
    line_close(line);
}

TEST(what_we_work_on_has_all_time_and_its_answer_some) {
    struct conns *conns = conns_new(100, 0, "");
    struct line line = line_open();
    admit(conns, line, "192.0.2.1", 1, 0);
    conns_phase(conns, ON(1), CONN_WORKING, 0, 0);
    conns_sweep(conns, 1000000);
    CHECK(!reads_end(line));
    conns_phase(conns, ON(1), CONN_SENDING, 100 * CONNS_BYTES_PER_S, 1000000);
    conns_sweep(conns, 1000000 + CONNS_GRACE_MS + 99999);
    CHECK(writes(line));
    conns_sweep(conns, 1000000 + CONNS_GRACE_MS + 100000);
    CHECK(!writes(line));
    conns_free(conns);
    line_close(line);
}

TEST(the_stalest_makes_room) {
    struct conns *conns = conns_new(8, 0, "");
    struct line lines[9];
    for (int i = 0; i < 9; i++)
        lines[i] = line_open();
    for (int i = 1; i <= 6; i++)
        admit(conns, lines[i], "192.0.2.1", i, i);
    conns_phase(conns, ON(1), CONN_WORKING, 0, 10);
    conns_phase(conns, ON(2), CONN_BODY, 0, 20); // has made progress since
    CHECK_INT(conns_counts(conns).shed, 0);      // two of eight are free
    admit(conns, lines[7], "192.0.2.2", 7, 30);
    CHECK(conns_is_cut(conns, ON(3)) && reads_end(lines[3]));
    admit(conns, lines[8], "192.0.2.2", 8, 31);
    CHECK(conns_is_cut(conns, ON(4)));
    CHECK(!conns_is_cut(conns, ON(1)) && !conns_is_cut(conns, ON(2)) && !conns_is_cut(conns, ON(7)));
    CHECK_INT(conns_counts(conns).shed, 2);
    conns_free(conns);
    for (int i = 0; i < 9; i++)
        line_close(lines[i]);
}

// It may have sent a request just before: that is still read, and answered.
TEST(an_idle_one_that_makes_room_is_only_told_to_end) {
    struct conns *conns = conns_new(4, 0, "");
    struct line line = line_open(), other = line_open();
    admit(conns, line, "192.0.2.1", 1, 0);
    conns_phase(conns, ON(1), CONN_IDLE, 0, 0);
    CHECK(send(line.theirs, "r", 1, 0) == 1);
    for (int i = 2; i < 5; i++)
        admit(conns, other, "192.0.2.2", i, 1);
    char byte;
    CHECK(conns_is_cut(conns, ON(1)));
    CHECK_INT(recv(line.ours, &byte, 1, MSG_DONTWAIT), 1);
    CHECK(reads_end(line));
    conns_phase(conns, ON(1), CONN_WORKING, 0, 2);
    conns_sweep(conns, 2 + CONNS_LAST_MS);
    CHECK(writes(line));
    conns_free(conns);
    line_close(line);
    line_close(other);
}

static void *answers(void *conns) {
    conns_phase(conns, ON(1), CONN_IDLE, 0, 0);
    conns_left(conns, ON(2));
    return NULL;
}

TEST(who_has_connected_is_answered_before_the_end) {
    struct conns *conns = conns_new(4, 0, "");
    struct line lines[2] = {line_open(), line_open()};
    pthread_t thread;
    int64_t now = hd_now_read().mono_ms;

    conns_finish(conns, now + 60000); // nobody is there
    admit(conns, lines[0], "192.0.2.1", 1, now);
    admit(conns, lines[1], "192.0.2.1", 2, now);
    conns_finish(conns, now + 20); // and stays
    CHECK(hd_now_read().mono_ms >= now + 20);
    CHECK_INT(pthread_create(&thread, NULL, answers, conns), 0);
    conns_finish(conns, now + 60000);
    CHECK(hd_now_read().mono_ms < now + 30000);
    pthread_join(thread, NULL);
    conns_free(conns);
    line_close(lines[0]);
    line_close(lines[1]);
}

TEST_MAIN
