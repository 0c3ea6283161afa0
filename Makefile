# The commands people type. DEBIAN=12 or DEBIAN=13 chooses the release of the hosts; the inventory's lab_release otherwise.
LAB = python3 lab/lab.py $(if $(DEBIAN),--debian $(DEBIAN))

.DEFAULT_GOAL = help
.PHONY: help site up test lint unit molecule other image conformance mutants audit bench destroy

help:  ## list these commands
	@sed -n 's/^\([a-z]*\):.*## /  make \1	/p' Makefile

site:  ## the whole site in containers, with mail through it both ways
	@$(LAB) site

up:  ## its hosts, bare, for trying things by hand
	@$(LAB) up

test:  ## lint, unit tests, molecule test: what CI runs
	@$(LAB) test

lint:  ## the first part of it
	@$(LAB) test lint

unit:  ## the second
	@$(LAB) test unit

molecule:  ## the third
	@$(LAB) test molecule

other:  ## the fourth: the other Debian release through converge, idempotence and mail
	@$(LAB) test other

image:  ## the image of one release, for a lab of mixed releases
	@$(LAB) image

conformance:  ## every requirement of the paper: where it is met, and what the tests last said
	@$(LAB) conformance

mutants:  ## break the lab in one place at a time, and see which test notices; ONLY=name,... for some
	@$(LAB) mutants $(if $(ONLY),--only '$(ONLY)')

audit:  ## Lynis, OpenSCAP, ssh-audit, sslyze, nmap and systemd-analyze on every host of the running lab
	@$(LAB) audit

bench:  ## how fast the running lab's gateway is, beside Postfix and Debian's sendmail; CELLS=4k-10 SYSTEMS=ours,postfix for a part
	@$(LAB) bench $(if $(CELLS),--cells '$(CELLS)') $(if $(SYSTEMS),--systems '$(SYSTEMS)')

destroy:  ## remove every container, network and image that was made here
	@$(LAB) destroy
