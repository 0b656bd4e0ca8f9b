/* SPDX-License-Identifier: BSD-2-Clause */
/* A VM with one vCPU for tests, driven by the test itself: memory, window, pages, a pool of shadow tables. */
#ifndef TEST_VM_H
#define TEST_VM_H

#include "harness.h"

#define VM_WINDOW   0x100000000000ul /* 16 TB: 512 GB aligned */
#define VM_PAGES_AT 0x30000000ul     /* exit page, reply page, public page; 64 KB a place */
#define VM_TABLES   16
#define VM_BITS     22 /* guest memory: 4 MB in one range */
#define RWXU        (SH_READ | SH_WRITE | SH_USER | SH_EXEC)

struct vm_test {
    cptr_t space, range, window, vm, vcpu, notification, exit_view, reply_view, public_view;
    cptr_t level2, level1; /* PageTables of guest memory: one, two */
    cptr_t table[VM_TABLES];
    const volatile struct umbra_exit_page *x;
    volatile struct umbra_reply_page *r;
    const volatile struct umbra_vm_public *public;
    volatile uint8_t *memory; /* the window */
    unsigned words;           /* of r->ops */
    unsigned place;
};

/* All objects, guest memory mapped 1:1 to the range, nothing shadowed. False: a check failed (and was
 * printed). */
bool vm_make(struct vm_test *v);
/* The same beside others: place 0..3 chooses the addresses; the VM object is made of vm_memory (0:
 * TEST_UNTYPED). */
bool vm_make_at(struct vm_test *v, unsigned place, cptr_t vm_memory);
/* The same with nested paging. */
bool vm_make_nested(struct vm_test *v, unsigned place);
/* Bind a new vCPU, and map its pages where those of the one before were. */
bool vm_vcpu(struct vm_test *v);
/* Map tables and range into the guest space. */
bool vm_memory(struct vm_test *v);
void vm_load(struct vm_test *v, uint64_t gpa, const void *bytes, unsigned n);
void op(struct vm_test *v, uint64_t word);
/* Receive the pending exit, or run until there is one. */
err_t vm_recv(struct vm_test *v);
/* Answer the exit with what is in the reply page (groups, registers, ops), and receive the next. index: of a
 * refused op. */
err_t vm_reply(struct vm_test *v, uint64_t *index);
/* Identity map of the first n pages for modes without paging: PAE tables 0 (level 2) and 1 (level 1). */
void vm_identity(struct vm_test *v, unsigned pages);
/* Real mode at 0:ip. */
void vm_real_mode(struct vm_test *v, uint16_t ip);
/* Flat 64-bit mode: CS.L, paging on as the guest believes; cr3 is the VMM's own affair. */
void vm_long_mode(struct vm_test *v, uint64_t rip, uint64_t rsp, bool user);
/* Long-mode tables 2 (level 4) .. 5 (level 1): 2 MB from address 0. Leaves are left to the caller. */
void vm_long_tables(struct vm_test *v);
/* The same of nested format: 2 MB from gpa 0. */
void vm_nested_tables(struct vm_test *v);
/* The kernel's tables are as I1, I2 and I6 say, and each link is counted. False: printed. */
bool vm_audit(const struct vm_test *v);
/* RIP behind an instruction of n bytes. */
void vm_skip(struct vm_test *v, unsigned n);

#endif
