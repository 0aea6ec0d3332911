#include "base/scope.h"

#include "tests/unit/test.h"

static Hodei__V1__Scope web = HODEI__V1__SCOPE__INIT, site = HODEI__V1__SCOPE__INIT, none = HODEI__V1__SCOPE__INIT;

static Hodei__V1__Principal somebody(Hodei__V1__Scope **within, size_t n) {
    Hodei__V1__Principal who = HODEI__V1__PRINCIPAL__INIT;
    web.project = (char *)(uintptr_t) "web";
    site.pipeline = (char *)(uintptr_t) "site";
    who.narrowed = true;
    who.within = within;
    who.n_within = n;
    return who;
}

TEST(who_is_not_narrowed_sees_everything) {
    Hodei__V1__Principal who = HODEI__V1__PRINCIPAL__INIT;
    CHECK(hd_within(&who, "web", "site"));
    who.n_within = 0;
    who.narrowed = true;
    CHECK(!hd_within(&who, "web", "site")); // and who has no part sees nothing
}

TEST(a_project_and_a_pipeline) {
    Hodei__V1__Scope *both[] = {&web, &site, &none};
    Hodei__V1__Principal who = somebody(both, 3);
    CHECK(hd_within(&who, "web", "other"));
    CHECK(hd_within(&who, "data", "site"));
    CHECK(!hd_within(&who, "data", "other"));
    CHECK(!hd_within(&who, "site", "web")); // a project is no pipeline
    CHECK(!hd_within(&who, "", ""));        // an empty scope is nothing
}

TEST(the_parts_as_lists) {
    Hodei__V1__Scope *both[] = {&web, &none, &site};
    Hodei__V1__Principal who = somebody(both, 3);
    struct hd_arena arena;
    hd_arena_init(&arena);
    struct hd_parts parts = hd_parts_of(&arena, &who);
    CHECK(!parts.all);
    CHECK_INT(parts.n_projects, 1);
    CHECK_INT(parts.n_pipelines, 1);
    CHECK_STR(parts.projects[0], "web");
    CHECK_STR(parts.pipelines[0], "site");
    who.narrowed = false;
    parts = hd_parts_of(&arena, &who);
    CHECK(parts.all);
    CHECK_INT(parts.n_projects + parts.n_pipelines, 0);
    hd_arena_release(&arena);
}

TEST_MAIN
