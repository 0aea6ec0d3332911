// The child between its clone and its exec. It shares our memory while we wait (as after vfork), so it calls little more than the
// kernel and writes only to its own stack and its struct child. We are single-threaded, and have no handlers of signals.
//
// It is born in its control group of version 2 (CLONE_INTO_CGROUP): to move a process there afterwards takes milliseconds on an
// idle machine, since the kernel waits for all others. Groups of version 1 can be entered only that way.
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/shim/shim.h"

#define OOM_SCORE "500" // the kernel ends jobs before it ends agents
#define NOT_STARTED 127

#define CHILD_CODE __attribute__((no_sanitize("address", "undefined"), no_stack_protector))

CHILD_CODE static bool set_user(const struct shim_def *def) {
    // Not by the C library: its functions would change every thread of what it takes for this process.
    return syscall(SYS_setgroups, def->n_groups, def->groups) == 0 &&
           syscall(SYS_setresgid, def->gid, def->gid, def->gid) == 0 &&
           syscall(SYS_setresuid, def->uid, def->uid, def->uid) == 0;
}

CHILD_CODE static bool set_limits(const struct child *child) {
    const struct shim *shim = child->shim;
    struct rlimit data = {(rlim_t)child->data_bytes, (rlim_t)child->data_bytes};
    struct rlimit processes = {(rlim_t)child->processes, (rlim_t)child->processes};
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd >= 0) {
        (void)!write(fd, OOM_SCORE, sizeof(OOM_SCORE) - 1); // a wish
        close(fd);
    }
    (void)setpriority(PRIO_PROCESS, 0, shim->nice);
    return setrlimit(RLIMIT_NOFILE, &shim->files) == 0 && (!child->data_bytes || setrlimit(RLIMIT_DATA, &data) == 0) &&
           (!child->processes || setrlimit(RLIMIT_NPROC, &processes) == 0);
}

CHILD_CODE static const char *prepare(const struct child *child) {
    struct sigaction standard = {.sa_handler = SIG_DFL};
    sigset_t none;
    for (size_t i = 0; i < sizeof(child->procs_fd) / sizeof(*child->procs_fd); i++)
        if (child->procs_fd[i] >= 0 && write(child->procs_fd[i], "0", 1) != 1)
            return "its control group";
    if (setpgid(0, 0) != 0 || dup2(child->in, STDIN_FILENO) < 0 || dup2(child->out, STDOUT_FILENO) < 0 ||
        dup2(child->err, STDERR_FILENO) < 0)
        return "its descriptors";
    if (!set_limits(child))
        return "its limits";
    if (child->shim->def.has_user && !set_user(&child->shim->def))
        return "its user";
    if (chdir(child->folder) != 0)
        return "its folder";
    sigemptyset(&none);
    if (sigaction(SIGPIPE, &standard, NULL) != 0 || sigprocmask(SIG_SETMASK, &none, NULL) != 0)
        return "its signals";
    execve(child->program, child->argv, child->envp);
    return "";
}

CHILD_CODE static int run(void *arg) {
    struct child *child = arg;
    child->what = prepare(child);
    child->failed = errno;
    syscall(SYS_exit_group, NOT_STARTED);
    return NOT_STARTED;
}

#if defined(__x86_64__)
#define HAVE_CLONE_INTO 1
// clone3 returns twice, the second time on the stack of the child: so the child may not return from here.
static long clone_into(struct clone_args *args, struct child *child) {
    register void *arg __asm__("r12") = child;
    register int (*function)(void *) __asm__("r13") = run;
    long ret = SYS_clone3;
    __asm__ volatile("syscall\n\t"
                     "test %%rax, %%rax\n\t"
                     "jnz 1f\n\t"
                     "xor %%ebp, %%ebp\n\t"
                     "mov %%r12, %%rdi\n\t"
                     "call *%%r13\n\t"
                     "hlt\n"
                     "1:"
                     : "+a"(ret)
                     : "D"(args), "S"(sizeof(*args)), "r"(arg), "r"(function)
                     : "rcx", "r11", "cc", "memory");
    return ret;
}
#elif defined(__aarch64__)
#define HAVE_CLONE_INTO 1
static long clone_into(struct clone_args *args, struct child *child) {
    register void *arg __asm__("x20") = child;
    register int (*function)(void *) __asm__("x21") = run;
    register long x8 __asm__("x8") = SYS_clone3;
    register long x0 __asm__("x0") = (long)(uintptr_t)args;
    register long x1 __asm__("x1") = sizeof(*args);
    __asm__ volatile("svc #0\n\t"
                     "cbnz x0, 1f\n\t"
                     "mov x29, #0\n\t"
                     "mov x0, x20\n\t"
                     "blr x21\n\t"
                     "brk #0\n"
                     "1:"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(arg), "r"(function)
                     : "cc", "memory");
    return x0;
}
#else
#define HAVE_CLONE_INTO 0
static long clone_into(struct clone_args *args, struct child *child) {
    (void)args, (void)child;
    return -ENOSYS;
}
#endif

int child_start(struct child *child, void *stack, size_t stack_size, pid_t *ret_pid) {
    struct clone_args args = {.flags = CLONE_VM | CLONE_VFORK | CLONE_INTO_CGROUP,
                              .exit_signal = SIGCHLD,
                              .stack = (uintptr_t)stack,
                              .stack_size = stack_size,
                              .cgroup = (uint64_t)child->group_fd};
    long pid;
    child->failed = 0;
    child->what = "";
    if (child->group_fd >= 0) {
        pid = clone_into(&args, child);
    } else {
        pid = clone(run, (uint8_t *)stack + stack_size, CLONE_VM | CLONE_VFORK | SIGCHLD, child);
        pid = pid < 0 ? -errno : pid;
    }
    if (pid < 0)
        return (int)-pid;
    if (!child->failed) {
        *ret_pid = (pid_t)pid;
        return 0;
    }
    while (waitpid((pid_t)pid, NULL, 0) < 0 && errno == EINTR)
        ;
    return child->failed;
}
