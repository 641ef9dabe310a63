# Everything a developer or the CI does. `make help` lists it.

GO        ?= go
LINT      := $(GO) tool -modfile=tools/go.mod
FUZZTIME  ?= 30s
BENCHARGS ?=

.DEFAULT_GOAL := help
.PHONY: help build demo dev test deps lint check bench faults fuzz vuln cover golden

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## Build bin/pennypost, without cgo
	CGO_ENABLED=0 $(GO) build -o bin/pennypost ./cmd/pennypost

demo: build ## Send through a service with a pretend internet, check what arrives
	bin/pennypost demo

dev: build ## Run the service with a pretend internet, ready to try, until Ctrl-C
	bin/pennypost dev

deps: ## Install the programs that the tests need (Debian, as root)
	tools/test-deps

test: deps ## Run all tests: whole program without cgo, faults in short form, then everything with the race detector
	CGO_ENABLED=0 $(GO) build ./...
	CGO_ENABLED=0 $(GO) test -timeout 15m ./cmd/... ./test ./test/interop
	CGO_ENABLED=0 $(GO) test -count=1 -timeout 10m ./test/faults
	CGO_ENABLED=1 $(GO) test -race -shuffle=on -timeout 20m ./...
	cd bench && CGO_ENABLED=1 $(GO) test -race ./...

lint: ## Run formatters, vet and linters; nothing is changed
	@files=$$($(LINT) gofumpt -l *.go cmd internal test bench); \
	if [ -n "$$files" ]; then echo "gofumpt would change:"; echo "$$files"; exit 1; fi
	$(GO) vet ./...
	cd bench && $(GO) vet ./...
	cd test/interop/goclient && $(GO) vet ./...
	$(LINT) golangci-lint run
	$(GO) mod tidy -diff
	cd bench && $(GO) mod tidy -diff
	cd test/interop/goclient && $(GO) mod tidy -diff

check: lint test ## What the CI runs: linters, then all tests

bench: build ## Measure beside Postfix: quick; FULL=1 everything (BENCHARGS="-only SMTP")
	cd bench && CGO_ENABLED=0 $(GO) build -o ../bin/bench .
	bin/bench run -bin bin/pennypost $(if $(FULL),-full,-quick) $(BENCHARGS)

faults: deps ## Inject faults into a real instance and reconcile (FULL=1: long form; root, Linux)
	CGO_ENABLED=0 PENNYPOST_FAULTS=$(if $(FULL),long,short) $(GO) test ./test/faults -count=1 -v -timeout $(if $(FULL),90m,10m)

fuzz: ## Fuzz every target for FUZZTIME (30s)
	@set -e; for pkg in $$(grep -rl '^func Fuzz' --include='*_test.go' internal | xargs -n1 dirname | sort -u); do \
		for target in $$(grep -rho '^func Fuzz[A-Za-z0-9_]*' $$pkg/*_test.go | cut -c6-); do \
			$(GO) test ./$$pkg -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME); \
		done; \
	done

vuln: ## Look for known vulnerabilities in what is used
	$(LINT) govulncheck ./...

cover: ## Run the tests with coverage and show it by package
	$(GO) test -coverprofile=tmp-cover.out -coverpkg=./... ./...
	$(GO) tool cover -func=tmp-cover.out | tail -1
	@rm -f tmp-cover.out

golden: ## Rewrite the golden files; look at the difference before you commit
	@set -e; for pkg in $$(grep -rl 'flag.Bool("update"' --include='*_test.go' . | xargs -n1 dirname | sort -u); do \
		$(GO) test $$pkg -update; \
	done
