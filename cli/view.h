// What a followed run looks like: log lines as they come, and the states of its jobs: on a terminal a block that is drawn again in
// place, elsewhere one line a change. Everything is written through view_flush in one piece.
#ifndef HD_CLI_VIEW_H
#define HD_CLI_VIEW_H

#include "cli/cli.h"

struct view_stream { // the log of one attempt
    char *job;
    int64_t attempt, next_frame;
    struct hd_buf partial; // a line without its end
};
struct view_state { // what was last said of a job
    char *job, *state;
};
struct view {
    struct cli *cli;
    bool live;    // a terminal
    bool prefix;  // "job | " before log lines
    bool quiet;   // the log alone, byte for byte
    size_t width; // of the longest job name
    struct view_stream *streams;
    size_t n_streams, cap_streams;
    struct view_state *states;
    size_t n_states, cap_states;
    unsigned drawn; // lines of the block now on the screen
    struct hd_buf out;
};

void view_init(struct view *view, struct cli *cli, bool prefix);
void view_release(struct view *view);
void view_erase(struct view *view); // takes the block off the screen
void view_logs(struct view *view, const cJSON *entries);
void view_logs_end(struct view *view); // lines that never ended
bool view_logs_whole(const struct view *view, const cJSON *run, const char *job);
void view_changes(struct view *view, const cJSON *run);                // lines, where not live
void view_block(struct view *view, const cJSON *run, int64_t wall_ms); // the block, where live
void view_flush(struct view *view);

#endif
