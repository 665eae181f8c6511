# The two commands are `make run` and `make test`; see README.md.

GO      ?= go
STATE   ?= .state
READER  ?= sim
LISTEN  ?= 127.0.0.1:8095
VERSION := $(shell git describe --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -ldflags "-X main.version=$(VERSION)"

.PHONY: build run clean-state test check bench fuzz fuzz-night faults soak sim mutants guides

# With PC/SC, for this machine.
build:
	@packaging/install-deps build
	$(GO) build $(LDFLAGS) -o bin/ ./cmd/...

# The whole system on one desk. READER=sim needs nothing but Go.
run:
ifeq ($(READER),sim)
	CGO_ENABLED=0 $(GO) build $(LDFLAGS) -o bin/ ./cmd/...
	bin/kioskd --sim --state $(STATE) --listen $(LISTEN)
else
	@packaging/install-deps pcsc
	$(GO) build $(LDFLAGS) -o bin/ ./cmd/...
	bin/kioskd --sim --reader "$(READER)" --state $(STATE) --listen $(LISTEN)
endif

clean-state:
	rm -rf $(STATE)

# Everything: unit tests, fuzz corpora, a real private pcscd with the virtual
# reader, the whole tour, under the race detector. Then, without it, what has one
# goroutine of ours at work or runs many times as fast so: the pages in a real
# browser, the commands, kills and pulled cards at every exchange, the fixed seeds
# of the simulated world, and the built binaries under faults.
REQUIRE := DIANKA_REQUIRE_PCSCD=1 DIANKA_REQUIRE_BROWSER=1 DIANKA_REQUIRE_AXE=1
RACELESS := ^TestBrowser|^TestKilledEverywhere$$|^TestPulledEverywhere$$|^TestGuessing$$
test: check
	$(REQUIRE) $(GO) test -race -timeout 25m -skip '$(RACELESS)' $$($(GO) list ./... | grep -v '/internal/realfault$$\|/cmd/')
	$(REQUIRE) $(GO) test -timeout 25m -parallel 4 -run '$(RACELESS)' ./internal/desk ./kiosk ./utility
	$(REQUIRE) $(GO) test -count=1 -timeout 25m ./internal/world ./internal/realfault ./cmd/...

check:
	@packaging/install-deps test
	@test -z "$$(gofmt -l .)" || { echo "not gofmt-ed:"; gofmt -l .; exit 1; }
	$(GO) vet ./...
	CGO_ENABLED=0 $(GO) build ./...
	CGO_ENABLED=0 GOOS=windows $(GO) build ./...

# Figures, each beside what it is compared to.
bench:
	@packaging/install-deps bench
	$(GO) run ./internal/bench

# A minute of each fuzz target; FUZZTIME=10m for longer. All run, whatever is
# found; a finding fails at the end and lies in testdata/fuzz, to be committed
# with its fix.
FUZZTIME ?= 1m
fuzz:
	@failed=; for p in $$($(GO) list ./...); do for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz'); do \
		echo "# $$p $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) $$p || failed="$$failed $$p.$$f"; done; done; \
		if [ -n "$$failed" ]; then echo "findings:$$failed"; exit 1; fi

# The same through a night.
fuzz-night:
	@$(MAKE) --no-print-directory fuzz FUZZTIME=10m

# The built binaries killed, failed and cut off at every call to the disk, of
# twice as many exchanges and with ten times the images of a power cut that
# `make test` looks at; PC/SC broken at every command.
faults:
	DIANKA_POWERCUT_RANDOM=2000 $(GO) test -count=1 -timeout 1h -v ./internal/diskcalls ./internal/powerloss ./internal/realfault
	DIANKA_REQUIRE_PCSCD=1 $(GO) test -count=1 -v -run '^TestServiceBroken$$' ./internal/desk

# A day of a shop's traffic with faults, and memory that must stay flat;
# SOAK=8h for longer.
SOAK ?= 5m
soak:
	DIANKA_SOAK=$(SOAK) $(GO) test -count=1 -timeout 0 -v -run '^TestSoak$$' ./internal/desk

# Simulated worlds from many seeds: SEEDS=100000, FROM=0, HOURS=8 to end by
# the clock. A failing seed is printed with the fewest steps that show it.
SEEDS ?= 10000
FROM  ?= 0
HOURS ?= 0
sim:
	$(GO) test -count=1 -timeout 0 -v -run '^TestSeeds$$' ./internal/world -sim.seeds=$(SEEDS) -sim.from=$(FROM) -sim.hours=$(HOURS) | grep -v '^=== RUN\|--- PASS'

# Deliberate bugs, one at a time, each of which a test must catch.
mutants:
	$(GO) run ./internal/mutants

# The pictures of the guides in docs, of the screens as they are now.
guides:
	DIANKA_GUIDES=$(CURDIR)/docs/pictures $(GO) test -count=1 -run '^TestGuides$$' ./internal/desk
