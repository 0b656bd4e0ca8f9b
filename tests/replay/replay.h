/* SPDX-License-Identifier: BSD-2-Clause */
/* What replay.c (incarnations, exits, answers) and reader.c (verdicts, guest memory) share. */
#ifndef TESTS_REPLAY_H
#define TESTS_REPLAY_H

#include "servers/vmm/record/record.h"

#include <inttypes.h>
#include <setjmp.h>

struct replay {
    struct record_codec codec;
    const uint8_t *file;
    size_t bytes;
    struct record_begin begin;
    struct boot_cpu cpu;
    bool begun, started; /* a record of this kind waits for its exit */
    struct vmm vmm;
    struct vmm_setup setup;
    struct vmm_segment segment;
    struct vmm_state before; /* this exit */
    struct undo_sum sums_before[2];
    struct umbra_exit_page exit;
    struct umbra_reply_page reply;
    cptr_t tables[SHADOW_TABLES_MAX];
    uint64_t exits, accesses, incarnations;
    jmp_buf died; /* the recorded VMM: the recording has no more of this exit */
};
extern struct replay r;

_Noreturn void differs(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The file is no recording. */
_Noreturn void unusable(const char *why);
const char *kind_of(const struct umbra_exit_page *x);

/* The kind of what comes; a file that breaks off in the middle of a record just ends there. */
enum record_kind next(void);
/* After decoding. False: the file ended within it. */
bool whole(void);
/* The same within an exit: its VMM died. */
void decoded(void);
/* The recording must have this next; or it ends in this exit, as its VMM died. core: what the core does. */
void expect(enum record_kind kind, const char *core);

#endif
