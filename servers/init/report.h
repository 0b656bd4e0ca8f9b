/* SPDX-License-Identifier: BSD-2-Clause */
/* What init knows of a death, and the text that it makes of it.
 *
 * report.c gathers it (system calls), report_text.c reads and writes it (pure, host-testable). Everything
 * here may have been written by a program that went wild: it is bounded, printed, and never followed. */
#ifndef SERVERS_INIT_REPORT_H
#define SERVERS_INIT_REPORT_H

#include "lib/console_env/trace.h"
#include "lib/vmm_env/trace.h"
#include "servers/init/init.h"

#define REPORT_TEXT_BYTES 8192u /* chosen: everything at its largest needs some 6 KB */
#define REPORT_KEPT       2u    /* texts of a component */
#define REPORT_CALLS      24u   /* chosen: return addresses shown */
#define REPORT_STACK      2048u /* chosen: words of the stack looked at */
#define REPORT_EXITS      16u   /* chosen: entries of the ring shown */

struct report_regs {
    uint64_t rip, rsp, rflags, fs, rax, rcx, rdx, rbx, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15;
};

struct report {
    bool due;    /* a death of which nothing was said yet */
    bool looked; /* at the dead process */
    bool has_regs, has_exit;
    const struct process *of;
    const char *program;
    char why[192];
    uint32_t incarnation, deaths; /* deaths: in a row at this exit */
    struct report_regs regs;
    uint64_t call[REPORT_CALLS]; /* what may be return addresses, the innermost first */
    uint32_t calls;
    uint64_t answered;           /* of the guest's exits */
    struct umbra_exit_page exit; /* the last one delivered */
    struct trace_pages trace;
    struct console_trace lines; /* of a console; what was typed, too */

    uint32_t made;        /* reports so far */
    uint32_t text, texts; /* where the next text goes; how many are kept */
    size_t bytes[REPORT_KEPT];
    char kept[REPORT_KEPT][REPORT_TEXT_BYTES];
};
/* All components may have one, and malloc's own part. */
BUILD_ASSERT(DESC_COMPONENTS_MAX * sizeof(struct report) <= INIT_HEAP * 3 / 4);

/* report_text.c */
/* clean_text - copies a client's text, other characters than those of ASCII that print as `?`, so that it
 * makes no lines of its own, and is no longer in an answer of the management channel than two bytes a
 * character: newline is what stands for the end of a line. */
void clean_text(const char *text, char *to, size_t room, char newline);
/* Is this address behind a call instruction? It must lie in [text, text + bytes), which is at `address`. */
bool report_follows_call(const uint8_t *text, uint64_t address, uint64_t bytes, uint64_t at);
/* report_scan - adds the words of a stack that may be return addresses, as far as there is room. */
void report_scan(struct report *r, const uint64_t *stack, uint32_t words, const uint8_t *text,
                 uint64_t address, uint64_t bytes);
/* report_exits - the last exits up to seq that the ring has, the oldest first. Returns how many. */
unsigned report_exits(const struct trace_entry ring[TRACE_ENTRIES], uint64_t seq,
                      struct trace_entry last[REPORT_EXITS]);
/* report_write - the text: whole lines, at most REPORT_TEXT_BYTES; returns its length. */
size_t report_write(const struct report *r, const char *name, char *to);

#endif
