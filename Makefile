# Hodei Pipelines. `make help` lists the targets. Everything that is built lies in build/ (build/san/ with SAN=1).
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.SUFFIXES:
.SECONDARY:
MAKEFLAGS += --no-builtin-rules
JOBS ?= $(shell nproc)
ifeq ($(MAKELEVEL),0)
MAKEFLAGS += -j$(JOBS)
endif

VERSION := 0.1.0
CC := gcc
SAN ?=
BUILD ?= build
B := $(BUILD)$(if $(SAN),/san)
G := $(BUILD)/gen
DESTDIR ?=
PREFIX ?= /usr/local

SERVICES := api-gateway orchestrator scheduler worker-registry pipelines quota auth observability

# --- flags ------------------------------------------------------------------------------------------------------------
PKGS := libprotobuf-c libnats libpq libcjson libcurl libcrypto libssl yaml-0.1 zlib
PKG_CFLAGS = $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
INCLUDES := -Ilibhodei -I$(G) -I.
WARN := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wformat=2 -Wno-format-nonliteral \
        -Wno-missing-field-initializers
HARDEN := -fstack-protector-strong -fPIE $(if $(SAN),,-D_FORTIFY_SOURCE=2)
CFLAGS ?= -O2 -g
ALL_CFLAGS = -std=gnu11 -D_GNU_SOURCE -DHD_VERSION='"$(VERSION)"' $(WARN) $(HARDEN) \
             $(if $(SAN),-fsanitize=address -fsanitize=undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer) \
             $(INCLUDES) $(PKG_CFLAGS) -include libhodei/base/banned.h $(CFLAGS)
LDFLAGS_ALL = -pie -Wl,-z,relro -Wl,-z,now -Wl,--as-needed $(if $(SAN),-fsanitize=address -fsanitize=undefined) $(LDFLAGS)
LIBS_BASE := $(shell pkg-config --libs libprotobuf-c libcjson yaml-0.1 libcrypto 2>/dev/null) -lm
LIBS_ALL := $(shell pkg-config --libs $(PKGS) 2>/dev/null) -lcivetweb -lpthread -lm

# --- sources ----------------------------------------------------------------------------------------------------------
PROTOS := $(wildcard schemas/hodei/v1/*.proto)
GEN_C := $(PROTOS:schemas/%.proto=$(G)/%.pb-c.c)
GEN_H := $(GEN_C:.c=.h)
EMBEDDED := $(G)/api-gateway/comments.h $(foreach s,$(SERVICES),$(if $(wildcard services/$(s)/migrations/*.sql),$(G)/$(s)/migrations.h)) \
              $(if $(wildcard libhodei/service/migrations/*.sql),$(G)/service/migrations.h)

BASE_C := $(wildcard libhodei/base/*.c)
ADAPTER_C := $(wildcard libhodei/adapter/*.c)
SERVICE_C := $(wildcard libhodei/service/*.c)
AGENT_C := $(filter-out agent/main.c agent/shim/%,$(wildcard agent/*.c agent/*/*.c))
SHIM_C := $(wildcard agent/shim/*.c)
CLI_C := $(wildcard cli/*.c)
objs = $(patsubst %.c,$(B)/obj/%.o,$(1))
GEN_O := $(patsubst $(G)/%.c,$(B)/obj/gen/%.o,$(GEN_C))

LIB := $(B)/libhodei.a
BASELIB := $(B)/libhodei-base.a
SVC_LIBS := $(foreach s,$(SERVICES),$(B)/lib$(s).a)
SVC_BINS := $(foreach s,$(SERVICES),$(B)/hodei-$(s))
BINS := $(SVC_BINS) $(B)/hodei-agent $(B)/hodei-shim $(B)/hodei

.PHONY: all
all: $(BINS)

# --- rules ------------------------------------------------------------------------------------------------------------
$(G)/%.pb-c.c $(G)/%.pb-c.h &: schemas/%.proto
	@mkdir -p $(G)
	@protoc-c -I schemas --c_out=$(G) $<

$(G)/%/migrations.h: libhodei/embed-migrations.sh
	@mkdir -p $(@D)
	@sh libhodei/embed-migrations.sh $(firstword $(wildcard services/$*/migrations libhodei/$*/migrations)) >$@
$(foreach s,$(SERVICES),$(eval $(G)/$(s)/migrations.h: $(wildcard services/$(s)/migrations/*.sql)))
$(G)/service/migrations.h: $(wildcard libhodei/service/migrations/*.sql)
# What the schemas of the API say of themselves, for its description.
API_PROTO := $(addprefix schemas/hodei/v1/,auth.proto common.proto log.proto pipeline.proto quota.proto run.proto worker.proto)
$(G)/api-gateway/comments.h: services/api-gateway/embed-comments.sh $(API_PROTO)
	@mkdir -p $(@D)
	@sh $^ >$@

$(B)/obj/gen/%.o: $(G)/%.c | $(GEN_H)
	@mkdir -p $(@D)
	@$(CC) $(filter-out -W%,$(ALL_CFLAGS)) -MMD -MP -c $< -o $@
$(B)/obj/%.o: %.c | $(GEN_H) $(EMBEDDED)
	@mkdir -p $(@D)
	@echo "cc $<"
	@$(CC) $(ALL_CFLAGS) -MMD -MP -c $< -o $@

define ar
@rm -f $@; ar rcs $@ $(filter %.o,$^)
endef
$(BASELIB): $(call objs,$(BASE_C)) $(GEN_O)
	$(ar)
$(LIB): $(call objs,$(BASE_C) $(ADAPTER_C) $(SERVICE_C)) $(GEN_O)
	$(ar)
define service_rules
$(B)/lib$(1).a: $$(call objs,$$(filter-out services/$(1)/main.c,$$(wildcard services/$(1)/*.c)))
	$$(ar)
$(B)/hodei-$(1): $$(call objs,$$(wildcard services/$(1)/main.c)) $(B)/lib$(1).a $(LIB)
	@echo "ld $$@"
	@$(CC) $$(LDFLAGS_ALL) -o $$@ $$(filter %.o,$$^) $$(filter %.a,$$^) $$(LIBS_ALL) $$(MORE_LIBS)
endef
$(foreach s,$(SERVICES),$(eval $(call service_rules,$(s))))
# civetweb finds TLS by two names, which these have (mend/ssl.c says why).
$(B)/tls/lib%.so: services/api-gateway/mend/%.c
	@mkdir -p $(@D)
	@$(CC) $(ALL_CFLAGS) -fPIC -shared -Wl,-soname,lib$*.so -Wl,--no-as-needed -o $@ $< -l:lib$*.so.3
MEND := $(B)/tls/libssl.so $(B)/tls/libcrypto.so
$(B)/hodei-api-gateway: $(MEND)
$(B)/hodei-api-gateway: MORE_LIBS = -Wl,--no-as-needed $(MEND) '-Wl,-rpath,$$ORIGIN/tls:$$ORIGIN/../lib/hodei'
$(B)/libagent.a: $(call objs,$(AGENT_C))
	$(ar)
$(B)/hodei-agent: $(call objs,agent/main.c) $(B)/libagent.a $(LIB)
	@echo "ld $@"
	@$(CC) $(LDFLAGS_ALL) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(LIBS_ALL)
$(B)/hodei-shim: $(call objs,$(SHIM_C)) $(BASELIB)
	@echo "ld $@"
	@$(CC) $(LDFLAGS_ALL) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(LIBS_BASE)
$(B)/hodei: $(call objs,$(CLI_C)) $(B)/libpipelines.a $(LIB)
	@echo "ld $@"
	@$(CC) $(LDFLAGS_ALL) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(LIBS_ALL)

# --- unit tests: one program a file, linked with every library ------------------------------------------------------------
UNIT_C := $(wildcard tests/unit/test_*.c)
UNIT := $(UNIT_C:tests/unit/%.c=$(B)/unit/%)
$(B)/unit/%: tests/unit/%.c $(LIB) $(SVC_LIBS) $(B)/libagent.a | $(GEN_H)
	@mkdir -p $(@D)
	@echo "cc $<"
	@$(CC) $(ALL_CFLAGS) -Wno-missing-prototypes -MMD -MP -MT $@ -MF $@.d $(LDFLAGS_ALL) -o $@ $< -Wl,--start-group $(SVC_LIBS) $(B)/libagent.a $(LIB) -Wl,--end-group $(LIBS_ALL)

-include $(shell find $(B) -name '*.d' 2>/dev/null)

# --- integration, simulator, fuzz: programs that link everything -----------------------------------------------------------
LINK_EVERYTHING = $(LDFLAGS_ALL) -o $@ $(filter %.c %.o,$^) -Wl,--start-group $(SVC_LIBS) $(B)/libagent.a $(LIB) -Wl,--end-group $(LIBS_ALL)

SIM_C := $(wildcard tests/sim/*.c)
# real.c hears of each statement and commit of the store.
SIM_LD := -Wl,--wrap=hd_db_run -Wl,--wrap=hd_db_commit
$(B)/sim: $(call objs,$(SIM_C)) $(LIB) $(SVC_LIBS) $(B)/libagent.a
	@echo "ld $@"
	@$(CC) $(SIM_LD) $(LINK_EVERYTHING)

$(B)/model-driver: $(call objs,tests/model/driver.c) $(B)/liborchestrator.a $(B)/libpipelines.a $(LIB)
	@echo "ld $@"
	@$(CC) $(LDFLAGS_ALL) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LIBS_ALL)

INTEGRATION_C := $(wildcard tests/integration/test_*.c)
INTEGRATION := $(INTEGRATION_C:tests/integration/%.c=$(B)/integration/%)
$(B)/integration/%: tests/integration/%.c $(LIB) $(SVC_LIBS) $(B)/libagent.a $(B)/hodei-agent $(B)/hodei-shim | $(GEN_H) $(EMBEDDED)
	@mkdir -p $(@D)
	@echo "cc $<"
	@$(CC) $(ALL_CFLAGS) -Wno-missing-prototypes -MMD -MP -MT $@ -MF $@.d $(LINK_EVERYTHING)
$(B)/soak-agent: $(call objs,tests/integration/soak_agent.c) $(LIB)
	@echo "ld $@"
	@$(CC) $(LDFLAGS_ALL) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(LIBS_ALL)
$(B)/print-routes: $(call objs,tests/integration/print_routes.c services/api-gateway/routes.c) $(BASELIB)
	@echo "ld $@"
	@$(CC) $(LDFLAGS_ALL) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(LIBS_BASE)
.PHONY: integration
integration: $(INTEGRATION)

# --- targets for people ----------------------------------------------------------------------------------------------------
.PHONY: help
help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

.PHONY: deps deps-test
deps: ## installs what building and running need (Debian packages)
	@sh tests/tools/deps.sh run
deps-test: ## installs what the tests and lint need besides
	@sh tests/tools/deps.sh run test

.PHONY: demo
demo: ## installs what is missing, builds, runs the project's own pipeline and shows the result
	@sh tests/tools/deps.sh run test
	@$(MAKE) --no-print-directory all
	@sh cli/demo.sh

.PHONY: check test test-long test-faults soak sim sim-real sim-mutants fuzz lint bench
check: ## unit tests with ASan and UBSan (seconds)
	@$(MAKE) --no-print-directory SAN=1 check-san
.PHONY: check-san
check-san: $(UNIT)
	@bash tests/tools/run.sh $(UNIT)

MODEL := python3 tests/model/model.py $(B)/model-driver
# Tests of the whole platform, each a program of its own.
PLATFORM := end_to_end openapi admin backup tls doors access matrix identity definitions corpus placement worker workers replicas graphs large quota
test: ## installs what is missing and runs the tests (15 minutes at most)
	@sh tests/tools/deps.sh run test
	@$(MAKE) --no-print-directory all integration $(B)/sim $(B)/model-driver $(B)/bench-load $(B)/bench-auth $(B)/print-machines $(B)/print-routes fuzzers
	@$(MAKE) --no-print-directory SAN=1 unit-san
	@bash tests/tools/run.sh $(UNIT:$(B)/%=$(BUILD)/san/%) "$(B)/sim --seeds 300" "$(B)/sim --mutants" \
	    "$(MODEL) --graphs 5000" "$(MODEL) --mutants" $(INTEGRATION) "bash tests/fuzz/run.sh $(B)/fuzz 0" tests/lint/schemas.sh \
	    "python3 tests/lint/docs.py $(B)" "BUILD=$(B) python3 tests/bench/bench.py --gateway --check" \
	    "python3 tests/integration/hostile_http.py no_request nonsense too_large" $(PLATFORM:%="python3 tests/integration/%.py")
.PHONY: unit-san
unit-san: $(UNIT) $(B)/hodei-shim

# What may happen to an installation, on the real thing.
FAULTS := "python3 tests/integration/faults.py" "python3 tests/integration/worker_faults.py" "python3 tests/integration/outages.py"
test-long: ## fuzzing, simulation, faults (40 minutes at most)
	@sh tests/tools/deps.sh run test long
	@$(MAKE) --no-print-directory all $(B)/sim $(B)/model-driver $(B)/soak-agent fuzzers
	@$(MAKE) --no-print-directory SAN=1 all
	@bash tests/tools/run.sh "$(B)/sim --seeds 20000" "python3 tests/sim/real.py $(B)/sim --seeds 60" "$(MODEL) --graphs 100000 --seed 100000" "python3 tests/model/lease.py $(B)/spin" \
	    $(FAULTS) "python3 tests/integration/soak.py --minutes 3" "$(B)/soak-agent 20000 10000" "BUILD=$(BUILD)/san python3 tests/integration/end_to_end.py" \
	    "python3 tests/integration/graphs.py --graphs 200 --seed 1000 --replicas 2" "python3 tests/integration/tenants.py" "python3 tests/integration/placement.py long_" \
	    "python3 tests/integration/quota.py --clients 2000 --replicas 2" \
	    "python3 tests/integration/hostile_http.py" \
	    "TLS=1 python3 tests/integration/hostile_http.py slow_heads slow_readers who_does_not no_request testssl" \
	    "bash tests/fuzz/run.sh $(B)/fuzz 20"

test-faults: ## outages of every part, under load (15 minutes)
	@sh tests/tools/deps.sh run test long
	@$(MAKE) --no-print-directory all
	@bash tests/tools/run.sh $(FAULTS)

soak: all ## random faults under load: MINUTES=30, SEED=n
	@python3 tests/integration/soak.py --minutes $(or $(MINUTES),30) $(if $(SEED),--seed $(SEED))

sim: $(B)/sim ## the simulator, 20,000 seeds: SEEDS=n, or SEED=n with its trace
	@$(B)/sim $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),20000))

sim-real: $(B)/sim ## the simulator with a real PostgreSQL, 500 seeds: SEEDS=n, or SEED=n with its trace
	@python3 tests/sim/real.py $(B)/sim $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),500))

sim-mutants: export COMPILE = $(CC) $(ALL_CFLAGS)
sim-mutants: export LINK = $(CC) $(LDFLAGS_ALL) $(SIM_LD)
sim-mutants: export OBJECTS = $(call objs,$(SIM_C))
sim-mutants: export LIBRARIES = -Wl,--start-group $(SVC_LIBS) $(B)/libagent.a $(LIB) -Wl,--end-group $(LIBS_ALL)
sim-mutants: $(B)/sim ## code that is broken on purpose, which the simulator must find: ONLY=word
	@python3 tests/sim/mutants.py $(B)/mutants $(or $(SEEDS),8000) $(ONLY)

lint: ## formatting, clang-tidy, cppcheck, layering, purity, schemas
	@$(MAKE) --no-print-directory all $(B)/print-machines
	@bash tests/lint/lint.sh

$(B)/print-machines: $(call objs,tests/lint/print_machines.c) $(B)/liborchestrator.a $(B)/libworker-registry.a $(BASELIB)
	@echo "ld $@"
	@$(CC) $(LDFLAGS_ALL) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(LIBS_BASE)

# clang-tidy, one stamp a file, so that only what has changed is looked at again.
TIDY := $(patsubst %.c,$(B)/tidy/%.ok,$(wildcard libhodei/*/*.c services/*/*.c agent/*.c agent/*/*.c cli/*.c tests/*/*.c))
# The analyzer's time grows with the paths that it follows in a function; above 60,000 it found nothing more here.
TIDY_FLAGS = $(if $(filter %/status.c,$<),,-include tests/lint/analyzer.h) -Xclang -analyzer-config -Xclang max-nodes=60000
.PHONY: tidy
tidy: $(TIDY)
$(B)/tidy/%.ok: %.c .clang-tidy | $(GEN_H) $(EMBEDDED)
	@mkdir -p $(@D)
	@clang-tidy --quiet $< -- $(filter-out -Werror,$(ALL_CFLAGS)) $(TIDY_FLAGS) 2>/dev/null
	@$(CC) $(ALL_CFLAGS) -MM -MP -MT $@ -MF $(@:.ok=.d) $< && touch $@

bench: all $(B)/bench-load $(B)/bench-agent $(B)/bench-auth ## measures the platform; writes build/bench/bench.json
	@BUILD=$(B) python3 tests/bench/bench.py
$(B)/bench-load: $(call objs,tests/bench/bench_load.c) $(BASELIB)
	@echo "ld $@"
	@$(CC) $(LDFLAGS_ALL) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(LIBS_BASE)

$(B)/bench-agent: $(call objs,tests/bench/bench_agent.c) $(LIB)
	@echo "ld $@"
	@$(CC) $(LDFLAGS_ALL) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(LIBS_ALL)

$(B)/bench-auth: $(call objs,tests/bench/bench_auth.c) $(B)/libapi-gateway.a $(LIB)
	@echo "ld $@"
	@$(CC) $(LDFLAGS_ALL) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(LIBS_ALL) -ldl

.PHONY: bench-place
bench-place: $(B)/bench-place ## measures the scheduler's decisions alone
	@$(B)/bench-place
$(B)/bench-place: $(call objs,tests/bench/bench_place.c) $(B)/libscheduler.a $(LIB)
	@echo "ld $@"
	@$(CC) $(LDFLAGS_ALL) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(LIBS_ALL)

.PHONY: release
release: ## stripped binaries in build/release, with their sizes
	@$(MAKE) --no-print-directory all
	@mkdir -p $(BUILD)/release/tls
	@for b in $(notdir $(BINS)); do strip -o $(BUILD)/release/$$b $(B)/$$b; done
	@for l in $(MEND); do strip -o $(BUILD)/release/tls/$$(basename $$l) $$l; done
	@cd $(BUILD)/release && stat -c '%10s  %n' $(notdir $(BINS))

.PHONY: install
install: release ## installs to $(DESTDIR)$(PREFIX)
	@install -d $(DESTDIR)$(PREFIX)/bin
	@install -m 755 $(addprefix $(BUILD)/release/,$(notdir $(BINS))) $(DESTDIR)$(PREFIX)/bin
	@install -d $(DESTDIR)$(PREFIX)/lib/hodei
	@install -m 644 $(BUILD)/release/tls/libssl.so $(BUILD)/release/tls/libcrypto.so $(DESTDIR)$(PREFIX)/lib/hodei
	@install -d $(DESTDIR)$(PREFIX)/lib/systemd/system $(DESTDIR)$(PREFIX)/share/doc/hodei
	@sed 's|/usr/local|$(PREFIX)|g' agent/hodei-agent.service >$(DESTDIR)$(PREFIX)/lib/systemd/system/hodei-agent.service
	@install -m 644 agent/README.md $(DESTDIR)$(PREFIX)/share/doc/hodei/agent.md

.PHONY: clean format
format: ## formats every C file
	@git ls-files '*.c' '*.h' | xargs clang-format -i
clean: ## removes build/
	@rm -rf $(BUILD)

# --- fuzzers: everything of theirs is compiled by clang, apart from the rest ---------------------------------------------------
FUZZ_C := $(wildcard tests/fuzz/fuzz_*.c)
FUZZERS := $(FUZZ_C:tests/fuzz/%.c=$(B)/fuzz/%)
FUZZ_SRC := $(BASE_C) $(GEN_C:$(G)/%=gen/%) $(filter-out %/process.c,$(AGENT_C)) services/pipelines/yaml.c \
            $(addprefix services/pipelines/,keys.c compile.c compile_job.c compile_parts.c compile_step.c compile_text.c graph.c \
            diff.c render.c resources.c scope.c splice.c triggers.c)
FUZZ_CFLAGS = $(filter-out -W% -f% -O2 -D_FORTIFY_SOURCE=2,$(ALL_CFLAGS)) -O1 -fno-omit-frame-pointer -fno-sanitize-recover=undefined
FUZZ_O := $(FUZZ_SRC:%.c=$(B)/fuzz/obj/%.o)
$(B)/fuzz/obj/gen/%.o: $(G)/%.c | $(GEN_H)
	@mkdir -p $(@D)
	@clang $(FUZZ_CFLAGS) -fsanitize=fuzzer-no-link,address,undefined -MMD -MP -c $< -o $@
$(B)/fuzz/obj/%.o: %.c | $(GEN_H) $(EMBEDDED)
	@mkdir -p $(@D)
	@clang $(FUZZ_CFLAGS) -fsanitize=fuzzer-no-link,address,undefined -MMD -MP -c $< -o $@
$(B)/fuzz/libfuzzed.a: $(FUZZ_O)
	$(ar)
$(B)/fuzz/%: tests/fuzz/%.c $(B)/fuzz/libfuzzed.a
	@echo "fuzzer $@"
	@clang $(FUZZ_CFLAGS) -fsanitize=fuzzer,address,undefined -MMD -MP -MT $@ -MF $@.d -o $@ $< $(B)/fuzz/libfuzzed.a $(LIBS_BASE)
.PHONY: fuzzers fuzz fuzz-replay
fuzzers: $(FUZZERS)
fuzz: $(FUZZERS) ## each fuzzer for a minute
	@bash tests/fuzz/run.sh $(B)/fuzz 60
fuzz-replay: $(FUZZERS) ## what the fuzzers have found, again
	@bash tests/fuzz/run.sh $(B)/fuzz 0
