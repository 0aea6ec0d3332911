#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#include "cli/cli.h"

#define LINE_MAX_BYTES 4096

// The first line, without its end. Bytes are read one by one: what stands behind is not ours.
static enum hd_status read_line(struct cli *cli, int signals, const char **ret) {
    char *line = hd_arena_alloc(&cli->arena, LINE_MAX_BYTES + 1);
    size_t n = 0;

    for (char c; n < LINE_MAX_BYTES;) {
        struct pollfd fds[2] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = signals, .events = POLLIN}};
        if (poll(fds, signals < 0 ? 1 : 2, -1) < 0 && errno == EINTR)
            continue;
        if (fds[1].revents)
            return hd_err_set(&cli->err, HD_INVALID, "interrupted");
        if (read(STDIN_FILENO, &c, 1) != 1 || c == '\n')
            break;
        line[n++] = c;
    }
    if (n && line[n - 1] == '\r')
        n--;
    line[n] = '\0';
    if (n == 0 || n == LINE_MAX_BYTES)
        return hd_err_set(&cli->err, HD_INVALID, n ? "the password is too long" : "there is no password");
    if (strlen(line) != n)
        return hd_err_set(&cli->err, HD_INVALID, "the password has a NUL in it");
    *ret = line;
    return HD_OK;
}

// The terminal has its echo back however this ends: a signal that would end the program waits until then.
static enum hd_status ask(struct cli *cli, const char *prompt, const char **ret) {
    struct termios before, silent;
    sigset_t set, old;

    if (tcgetattr(STDIN_FILENO, &before) != 0)
        return read_line(cli, -1, ret);
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGTSTP);
    if (sigprocmask(SIG_BLOCK, &set, &old) != 0)
        abort();
    HD_AUTO_FD int signals = signalfd(-1, &set, SFD_CLOEXEC);
    silent = before;
    silent.c_lflag &= ~(tcflag_t)ECHO;
    fprintf(stderr, "%s: ", prompt);
    (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent);
    enum hd_status status = read_line(cli, signals, ret);
    (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
    fputc('\n', stderr);
    if (sigprocmask(SIG_SETMASK, &old, NULL) != 0) // what has arrived meanwhile works now
        abort();
    return status;
}

enum hd_status cli_password(struct cli *cli, const char *prompt, bool again, const char **ret) {
    const char *first, *second;

    if (!isatty(STDIN_FILENO))
        return read_line(cli, -1, ret);
    HD_TRY(ask(cli, prompt, &first));
    if (again) {
        HD_TRY(ask(cli, "The same again", &second));
        if (!hd_streq(first, second))
            return hd_err_set(&cli->err, HD_INVALID, "the two passwords differ");
    }
    *ret = first;
    return HD_OK;
}
