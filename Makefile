# The short ways. Everything here can also be done by hand: see README.md.
#   make run [GPU=1] | test | test-mpich | fuzz | build | slurm-demo | slurm-chaos | bench | install PREFIX=... | device-bundle | format | tidy | clean
BUILD ?= build
PREFIX ?= /usr/local
JOBS ?= $(shell nproc)
CMAKE_FLAGS ?=
# ON: several sources are compiled as one, which suits who builds once; OFF: each alone, which suits who changes some.
TOGETHER ?= ON
RUN_DIR ?= runs/fashion
SETUP =
# GPU=1: a program for NVIDIA's GPUs too, and the run on them, a rank a GPU.
GPU ?=
ifneq ($(filter-out 0,$(GPU)),)
SETUP += gpu
# Beside those of make's own command line.
override CMAKE_FLAGS += -DCOUPLET_CUDA=ON
RUN_FLAGS += --pipeline.device cuda
RANKS ?= 0
endif
RANKS ?= 2

.PHONY: run test test-mpich fuzz slurm-demo slurm-chaos build build-tests setup configure bench install device-bundle format tidy clean

run: build
	$(BUILD)/couplet run --config configs/fashion.ini --run-dir $(RUN_DIR) --ranks $(RANKS) $(RUN_FLAGS)

# One test process a core; tests that start ranks reserve both.
test: build-tests
	ctest --test-dir $(BUILD) --output-on-failure -j $(JOBS)

# The program with MPICH, which stands beside Open MPI: its communicator, trainer and a small run. `make test` has these too
# where MPICH is installed.
test-mpich: configure
	cmake --build $(BUILD) -j $(JOBS) --target couplet mpich
	ctest --test-dir $(BUILD) --output-on-failure --no-tests=error -L '^mpich$$'

# Inputs that libFuzzer makes, for every reader of files from elsewhere; it goes on from those of earlier calls.
SECONDS ?= 60
fuzz: configure
	cmake --build $(BUILD) -j $(JOBS) --target fuzz_targets
	tests/fuzz/run $(BUILD)/fuzz --seconds $(SECONDS) --jobs $(JOBS) --keep

# The pipeline through Slurm, on a cluster of two nodes that is started on this machine for it; the long one disturbs it.
slurm-demo: build
	slurm/demo --couplet $(BUILD)/couplet

DISTURBANCES ?= 10
SEED ?= 1
slurm-chaos: build
	slurm/chaos --couplet $(BUILD)/couplet --disturbances $(DISTURBANCES) --seed $(SEED)

bench: setup configure
	cmake --build $(BUILD) -j $(JOBS) --target all
	bench/run $(BUILD)

# Slurm's packages only for what starts a cluster, Chromium only for the test that looks at reports, Clang only for fuzzing.
test: SETUP += slurm browser fuzz mpich
test-mpich: SETUP += mpich
fuzz: SETUP += fuzz
bench: SETUP += bench
slurm-demo slurm-chaos: SETUP += slurm
setup:
	@scripts/setup $(SETUP)

configure: setup
	@{ [ -e $(BUILD)/build.ninja ] && \
	  { [ -z "$(filter gpu,$(SETUP))" ] || grep -q '^COUPLET_CUDA:.*=ON$$' $(BUILD)/CMakeCache.txt; } && \
	  { [ -z "$(filter mpich,$(SETUP))" ] || grep -q '^MPICH_FOUND:INTERNAL=1' $(BUILD)/CMakeCache.txt; }; } || \
	  cmake -S . -B $(BUILD) -G Ninja -DCOUPLET_TOGETHER=$(TOGETHER) $(CMAKE_FLAGS)

# The program alone; the tests take as long again to build.
build: configure
	cmake --build $(BUILD) -j $(JOBS) --target program

build-tests: configure
	cmake --build $(BUILD) -j $(JOBS)

install: build
	cmake --install $(BUILD) --prefix "$(PREFIX)"

# For a machine with a GPU and torch 2.11, but nothing else of ours: dist/couplet-device.tar.zst.
device-bundle: build-tests
	scripts/device-bundle $(BUILD)

format:
	git ls-files '*.h' '*.cpp' | xargs clang-format -i

# It goes by the command of each source, in a folder of its own where each has one.
tidy: BUILD := $(BUILD)-tidy
tidy: TOGETHER = OFF
tidy: configure
	git ls-files '*.cpp' | grep -v '^tests/' | xargs -P $(JOBS) -n 4 clang-tidy -p $(BUILD) --quiet

clean:
	rm -rf $(BUILD)
