# What a contributor types. `make` alone lists it all.

PYTHON_IN    = .venv/bin/python -I -m
TRAINING_IN  = .venv-train/bin/python -I -m
PARITY_IN    = .venv-parity/bin/python -I -m
KERNELS      = .cache/kernels
NODE_MODULES = vscode-extension/node_modules/.package-lock.json
OUT_OF_TEST  = not training and not parity and not vscode and not gpu and not soak

.PHONY: help demo test soak test-training test-neovim test-vscode test-vscode-offline test-vscode-typing test-sanitized test-parity check check-vscode bench vsix vsix-offline format lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' Makefile

demo: $(KERNELS) ## from nothing to a completion at a cursor in a real file
	@.venv/bin/python -I scripts/demo.py

test: $(KERNELS) ## the tests, without torch, a GPU or an editor to drive
	$(PYTHON_IN) pytest -m "$(OUT_OF_TEST)" -n 2 --dist loadfile $(ARGS)

soak: $(KERNELS) ## the tests that take minutes: ten thousand connections that say nothing, and the like
	$(PYTHON_IN) pytest -m soak --timeout 600 $(ARGS)

test-training: .venv-train/stamp ## the tests that train, with torch: a large download
	$(TRAINING_IN) pytest -m training $(ARGS)

test-vscode: vsix ## installs the extension into a real VS Code and types in it (needs node 20)
	vscode-extension/test/workbench "$(CURDIR)/.cache/vscode"
	cd vscode-extension && npm run --silent test

test-vscode-typing: vsix ## how much an hour of typing grows the extension host, in a few minutes
	vscode-extension/test/workbench "$(CURDIR)/.cache/vscode"
	cd vscode-extension && npm run --silent test-typing

test-vscode-offline: vsix-offline ## the same for the extension that brings everything, with no network at all (Linux)
	vscode-extension/test/workbench "$(CURDIR)/.cache/vscode"
	cd vscode-extension && npm run --silent test-offline

test-neovim: $(KERNELS) ## the plugin on Neovim 0.10, 0.11 and 0.12; unpacks the other two (needs Debian's apt)
	tests/editors/another-neovim .cache/neovim/0.10 trixie .venv/bin/python
	tests/editors/another-neovim .cache/neovim/0.12 forky .venv/bin/python
	for nvim in .venv/bin/nvim .cache/neovim/0.10/nvim .cache/neovim/0.12/nvim; do \
		LACUNA_TEST_NVIM="$(CURDIR)/$$nvim" $(PYTHON_IN) pytest tests/editors -k neovim $(ARGS) || exit 1; \
	done

test-sanitized: .venv/stamp ## our kernels under AddressSanitizer and UBSan (needs gcc; Linux)
	LACUNA_TEST_SANITIZED=1 ASAN_OPTIONS=detect_leaks=0 LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libstdc++.so)" \
		$(PYTHON_IN) pytest tests/runtime/graph/test_kernels.py tests/runtime/graph/test_attention.py --timeout 600 $(ARGS)

test-parity: .venv-parity/stamp ## the runtime against transformers, and over several ranks, with torch: a large download
	$(PARITY_IN) pytest -m parity $(ARGS)

check: .venv/stamp ## lint, format and types, and who may import whom
	$(PYTHON_IN) ruff check .
	$(PYTHON_IN) ruff format --check .
	$(PYTHON_IN) mypy
	$(PYTHON_IN) pytest -q tests/test_tidy.py

check-vscode: $(NODE_MODULES) ## types of the VS Code extension (needs node 20)
	cd vscode-extension && npm run --silent check

vsix: .venv/stamp $(NODE_MODULES) ## the VS Code extension with server and model inside (needs node 20)
	vscode-extension/pack .venv/bin/python

vsix-offline: .venv/stamp $(NODE_MODULES) ## the same with every package inside, for x86-64 Linux and one CPython
	vscode-extension/pack .venv/bin/python --offline

bench: $(KERNELS) ## how fast the runtime is on this machine, with random weights
	$(PYTHON_IN) benchmarks.throughput $(ARGS)

format: .venv/stamp ## write the code as `make check` wants it
	$(PYTHON_IN) ruff check --fix .
	$(PYTHON_IN) ruff format .

lock: ## choose the newest versions that fit pyproject.toml (needs uv)
	scripts/lock

clean: ## remove the environment and every build product
	rm -rf .venv .venv-train .venv-parity .cache/vscode .cache/kernels model_runtime/graph/native/kernels-* dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	cd vscode-extension && rm -rf node_modules dist out bundled

.venv/stamp: requirements/dev.txt pyproject.toml scripts/environment
	@scripts/environment .venv requirements/dev.txt
	@touch $@

$(KERNELS): .venv/stamp $(wildcard model_runtime/graph/native/*.c model_runtime/graph/native/*.h) model_runtime/graph/kernels.py
	@$(PYTHON_IN) model_runtime.graph.kernels
	@mkdir -p $(@D) && touch $@

.venv-train/stamp: requirements/train.txt pyproject.toml scripts/environment
	@scripts/environment .venv-train requirements/train.txt
	@touch $@

$(NODE_MODULES): vscode-extension/package.json vscode-extension/package-lock.json
	@command -v npm >/dev/null || { echo "node 20 or later, with npm, is needed for this" >&2; exit 1; }
	cd vscode-extension && npm ci --ignore-scripts
	@touch $@

.venv-parity/stamp: requirements/parity.txt pyproject.toml scripts/environment
	@scripts/environment .venv-parity requirements/parity.txt
	@touch $@
