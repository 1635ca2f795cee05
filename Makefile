# Everything to build, test and show mooring. `make` alone prints what there is.
#
#   VERSION=…   builds a trial package of another version than package.json's (to test an upgrade with)
#   ARCH=arm64  builds the package for the other architecture (needs binutils-aarch64-linux-gnu)
#   KEEP=1      leaves the demo's node up
#   SEED=…, COUNT=…  for make sim: the first schedule, and how many
#   SEED=…, MINUTES=…, COUNT=…  for make chaos: which faults, for how long (10), or how many: see docs/testing.md
#   COUNT=2000, RESTARTS=200, ROUNDS=25  for make soak: new interfaces, new D-Bus daemons, and looks: see docs/testing.md
#   NODES=10000, OUTAGE=10m, SEED=1, STARTING=5  for make fleet: nodes, how long home is away, the seed, the percentage that boots then
#   TESTS='…'   only these test files, for unit, contract, simulation, conformance and bed
#   MINUTES=1   how long the bench leaves mooring alone (5), TRIALS=50 and TURNS=7 and PARTS=start,idle,tags,pass,dns,restart,boot,ingress,counting: see docs/benchmarks.md

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# Node.js of the version that is shipped, whatever the machine has.
NODE := node_modules/.bin/node
export PATH := $(CURDIR)/node_modules/.bin:$(PATH)
# The caller's settings for other programs.
unexport NODE_OPTIONS
export KEEP TESTS SEED COUNT RESTARTS ROUNDS NODES OUTAGE STARTING

version_flag := $(if $(VERSION),--version $(VERSION))
arch_flag := $(if $(ARCH),--arch $(ARCH))

.PHONY: help
help: ## what there is
	@echo 'mooring: make TARGET'
	@echo
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  \1\t\2/p' Makefile | expand -t 16

.PHONY: demo
demo: need-root deb ## boot a real node and see it moored, step by step (KEEP=1 leaves it up)
	$(NODE) test/bed/demo.ts

.PHONY: test
test: deps ## everything below that checks something, to the end, and fails if anything failed
	$(NODE) test/support/run-suites.ts lint package unit contract simulation base conformance bed

.PHONY: lint unit contract simulation conformance
lint: deps ## format, types, and the arrows between the rooms
	$(NODE) test/support/run-suites.ts lint
unit: deps ## unit tests, with coverage
	$(NODE) test/support/run-suites.ts unit
contract: deps deb ## adapters, units and package against the real programs
	$(NODE) test/support/run-suites.ts contract
simulation: deps ## the brain against a simulated node
	$(NODE) test/support/run-suites.ts simulation
conformance: need-root deps ## the simulation's models against the real things
	$(NODE) test/support/run-suites.ts base conformance

.PHONY: sim
sim: deps ## 10,000 simulated schedules of faults (COUNT=…), or one again (SEED=…)
	$(NODE) test/simulation/sim.ts

.PHONY: fleet
fleet: deps ## what 10,000 nodes do to the k3s server once home is back, beside today's plain unit (NODES=…, OUTAGE=…, SEED=…)
	$(NODE) test/simulation/fleet.ts

.PHONY: bed
bed: need-root deb ## a booted node and a home network, all the way
	$(NODE) test/support/run-suites.ts base bed

.PHONY: bench
bench: need-root deb ## memory, CPU time and reaction times, against the bare runtime; the ingress against HAProxy and others
	@packaging/prepare-host test/bench/host-packages
	$(NODE) test/bench/mooring.bench.ts

.PHONY: chaos
chaos: need-root deb ## random faults on a real node, and how long until it is moored again (MINUTES=…, COUNT=…, SEED=…)
	$(NODE) test/bed/chaos.ts

.PHONY: soak
soak: need-root deb ## thousands of new interfaces and hundreds of new D-Bus daemons, and what mooring keeps of them (COUNT=…, RESTARTS=…)
	$(NODE) test/bed/soak.ts

.PHONY: bundle
bundle: deps ## build/lib: what goes to /usr/lib/mooring
	$(NODE) packaging/build.ts $(version_flag)

.PHONY: deb
deb: bundle ## build/mooring_<version>_<arch>.deb (VERSION=…, ARCH=arm64)
	$(NODE) packaging/deb/build.ts $(version_flag) $(arch_flag)

.PHONY: image
image: need-root deb ## build/mooring-image.raw: a Debian that boots (UEFI), with all that a node needs (K3S=…, ZEROTIER_DEB=…, SUITE=…)
	@packaging/prepare-host packaging/image/host-packages
	MOORING_DEB=$$(ls -t build/mooring_*_$${ARCH:-$$(dpkg --print-architecture)}.deb | head -n 1) packaging/image/build-image build/mooring-image.raw

.PHONY: image-boot
image-boot: need-root deps ## boots build/mooring-image.raw (amd64) in QEMU and asks it what runs; some minutes without KVM
	@packaging/prepare-host packaging/image/host-packages
	@packaging/prepare-host test/image/host-packages
	$(NODE) test/image/boot.ts

.PHONY: tf-schemas
tf-schemas: deps ## fetch anew what the Terraform examples are checked against (100 MB)
	$(NODE) test/contract/examples/provider-schemas.ts

.PHONY: clean
clean: ## remove what was built; node_modules stays
	rm -rf build coverage

.PHONY: deps
deps: node_modules/.package-lock.json ## Debian packages (as root) and node_modules
	@packaging/prepare-host

# Scripts of packages are not run: none is needed, and one would compile an addon that is not used.
node_modules/.package-lock.json: package.json package-lock.json
	@packaging/prepare-host
	npm ci --ignore-scripts --no-audit --no-fund --loglevel=error </dev/null
	@# npm 9 leaves out this link, since two optional packages claim it.
	@ln -sfn ../node-linux-$(if $(filter aarch64,$(shell uname -m)),arm64,x64)/bin/node $(NODE)
	@$(NODE) --version >/dev/null || { echo 'npm brought no Node.js for this machine: amd64 and arm64 are supported' >&2; exit 1; }
	@touch $@

.PHONY: need-root
need-root:
	@[ "$$(id -u)" = 0 ] || { echo 'This boots containers and makes network namespaces: run it as root, on a machine of its own.' >&2; exit 1; }
