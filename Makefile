# The commands people type. DEBIAN=12 or DEBIAN=13 chooses the release of the hosts; the inventory's lab_release otherwise.
LAB = python3 lab/lab.py $(if $(DEBIAN),--debian $(DEBIAN))

.DEFAULT_GOAL = help
.PHONY: help site up test lint unit molecule other test-roles test-acme test-check test-upgrade image conformance docs sanity changelog mutants drill bench
.PHONY: audit bench-converge destroy

help:  ## list these commands
	@sed -n 's/^\([a-z-]*\):.*## /  make \1	/p' Makefile

site:  ## the whole site in containers, with mail through it both ways
	@$(LAB) site

up:  ## its hosts, bare, for trying things by hand
	@$(LAB) up

test:  ## lint, unit tests, molecule test: one release in full
	@$(LAB) test

lint:  ## the first part of it
	@$(LAB) test lint

unit:  ## the second
	@$(LAB) test unit

molecule:  ## the third
	@$(LAB) test molecule

other:  ## what CI runs after it: the other Debian release through converge, idempotence, mail and the short drill
	@$(LAB) test other

test-acme:  ## another company in containers: two gateways, two stores, IPv6 (inventories/acme)
	@$(LAB) test acme

test-check:  ## check mode against what is then done, on bare, converged and drifted hosts; each role's tag alone
	@$(LAB) test check

test-upgrade:  ## from an earlier commit to this tree while mail flows; FROM=COMMIT, the latest tag before this commit otherwise
	@$(if $(FROM),UPGRADE_FROM='$(FROM)') $(LAB) test upgrade

image:  ## the image of one release, for a lab of mixed releases
	@$(LAB) image

test-roles:  ## each role by itself on a plain host, by the playbook in its README
	@$(LAB) test roles

conformance:  ## every requirement of the paper: where it is met, and what the tests last said
	@$(LAB) conformance

docs:  ## what is made of specs, source and inventory: tables of variables, docs/reference.md, the architecture's pictures, filters' documentation
	@$(LAB) docs

sanity:  ## ansible-test, galaxy-importer, ansible-builder on the collection as it is built; ONLY="2.21 galaxy" for some
	@$(LAB) sanity $(ONLY)

changelog:  ## the fragments of the changelog become part of CHANGELOG.md
	@$(LAB) sanity gather

mutants:  ## break the lab in one place at a time, and see which test notices; ONLY=name,... for some
	@$(LAB) mutants $(if $(ONLY),--only '$(ONLY)')

drill:  ## break the lab while mail flows, and count what is lost; SHORT=1 for five minutes, ONLY=name,... for some, DELIVERY=interactive
	@$(LAB) drill $(if $(SHORT),--short) $(if $(ONLY),--only '$(ONLY)') $(if $(DELIVERY),--delivery '$(DELIVERY)')

audit:  ## Lynis, OpenSCAP, ssh-audit, sslyze, nmap and systemd-analyze on every host of the running lab
	@$(LAB) audit

bench:  ## how fast the running lab's gateway is, beside Postfix and Debian's sendmail; CELLS=4k-10 SYSTEMS=ours,postfix or FILTERS=1 for a part
	@$(LAB) bench $(if $(CELLS),--cells '$(CELLS)') $(if $(SYSTEMS),--systems '$(SYSTEMS)') $(if $(FILTERS),--filters)

bench-converge:  ## what a converge of 1, 2, 4 and 8 more gateways costs beside the running lab, and a shell script; GATEWAYS=1,2 for a part
	@$(LAB) bench-converge $(if $(GATEWAYS),--gateways '$(GATEWAYS)')

destroy:  ## remove every container, network and image that was made here
	@$(LAB) destroy
