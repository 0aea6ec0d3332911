// Where control groups of this process are, read from texts as machines give them.
#include "agent/executor/cgroups.h"

#include <stdio.h>

#include "base/buf.h"
#include "tests/unit/test.h"

#define HYBRID_MOUNTS                                                                                                  \
    "24 29 0:22 / /proc rw - proc proc rw\n"                                                                           \
    "30 29 0:26 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro,mode=755\n"                                                \
    "31 30 0:27 / /sys/fs/cgroup/unified rw,nosuid shared:10 - cgroup2 cgroup2 rw,nsdelegate\n"                        \
    "33 30 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:12 - cgroup cgroup rw,cpu,cpuacct\n"                            \
    "34 30 0:30 / /sys/fs/cgroup/cpuset rw shared:13 - cgroup cgroup rw,cpuset\n"                                      \
    "35 30 0:31 / /sys/fs/cgroup/memory rw shared:14 - cgroup cgroup rw,memory\n"
#define HYBRID_OWN                                                                                                     \
    "9:memory:/system.slice/a.service\n8:cpuset:/\n7:cpu,cpuacct:/system.slice\n1:name=systemd:/x\n0::/user.slice\n"

static void own_is(const char *mounts, const char *cgroup, const char *controller, const char *want) {
    char got[200] = "";
    bool found = cgroups_own(mounts, cgroup, controller, got, sizeof(got));
    CHECK_STR(found ? got : NULL, want);
}

static void own_is_not(const char *mounts, const char *cgroup, const char *controller) {
    char got[200];
    CHECK(!cgroups_own(mounts, cgroup, controller, got, sizeof(got)));
}

TEST(a_hybrid_host) {
    own_is(HYBRID_MOUNTS, HYBRID_OWN, NULL, "/sys/fs/cgroup/unified/user.slice");
    own_is(HYBRID_MOUNTS, HYBRID_OWN, "memory", "/sys/fs/cgroup/memory/system.slice/a.service");
    own_is(HYBRID_MOUNTS, HYBRID_OWN, "cpu", "/sys/fs/cgroup/cpu,cpuacct/system.slice");
    own_is(HYBRID_MOUNTS, HYBRID_OWN, "cpuset", "/sys/fs/cgroup/cpuset"); // the root has no slash behind it
    own_is_not(HYBRID_MOUNTS, HYBRID_OWN, "pids");
    own_is_not(HYBRID_MOUNTS, HYBRID_OWN, "cpus"); // whole words
}

TEST(a_host_of_version_2) {
    const char *mounts = "31 30 0:27 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
    own_is(mounts, "0::/system.slice/hodei-agent.service\n", NULL, "/sys/fs/cgroup/system.slice/hodei-agent.service");
    own_is(mounts, "0::/\n", NULL, "/sys/fs/cgroup");
    own_is_not(mounts, "0::/\n", "memory");
    own_is_not(mounts, "", NULL);
    own_is_not("", "0::/\n", NULL);
}

// A container sees its own group as what is mounted, and with no name space of its own the path from the host's root.
TEST(what_is_mounted_is_a_part) {
    const char *mounts = "900 899 0:27 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";
    own_is(mounts, "4:memory:/docker/abc\n", "memory", "/sys/fs/cgroup/memory");
    own_is(mounts, "4:memory:/docker/abc/inner\n", "memory", "/sys/fs/cgroup/memory/inner");
    own_is_not(mounts, "4:memory:/docker/abcd\n", "memory");
    own_is_not(mounts, "4:memory:/\n", "memory");
}

TEST(text_that_is_cut_or_odd) {
    char small[8];
    CHECK(!cgroups_own(HYBRID_MOUNTS, HYBRID_OWN, NULL, small, sizeof(small)));
    own_is_not("31 30 0:27 /\n31\n\n- cgroup2\n31 30 0:27 / /x rw - cgroup2", "0::/\n", NULL);
    own_is_not(HYBRID_MOUNTS, "0:\n:\n0::\n5:memory\n", NULL);
    own_is_not(HYBRID_MOUNTS, "0:\n:\n0::\n5:memory\n", "memory");
}

TEST(what_holds_for_jobs_in_words) {
    char text[400];
    struct cgroups groups = {.why = "/sys/fs/cgroup: Permission denied"};
    CHECK_STR(cgroups_layout(&groups), "none");
    cgroups_describe(&groups, text, sizeof(text));
    CHECK_STR(
        text,
        "jobs have no control groups to end them as one (/sys/fs/cgroup: Permission denied); memory is limited for "
        "each process alone (rlimit), CPU time is not limited");
    hd_strlcpy(groups.tree, "/x", sizeof(groups.tree));
    CHECK_STR(cgroups_layout(&groups), "tree");
    hd_strlcpy(groups.memory, "/y", sizeof(groups.memory));
    CHECK_STR(cgroups_layout(&groups), "hybrid");
    cgroups_describe(&groups, text, sizeof(text));
    CHECK_STR(text, "jobs have control groups of version 2; memory is limited by version 1, CPU time is not limited");
    groups.undivided = true;
    cgroups_describe(&groups, text, sizeof(text));
    CHECK(strstr(text, "DelegateSubgroup=agent") != NULL);
    groups.tree_limits = true;
    CHECK_STR(cgroups_layout(&groups), "v2");
}

TEST_MAIN
