/* SPDX-License-Identifier: BSD-2-Clause */
/* The bytes of an instruction as the decoder's files take them, one by one. take() alone knows the two
 * limits: what was given, and 15. Shared by decode*.c only. */
#ifndef VMM_X86_CURSOR_H
#define VMM_X86_CURSOR_H

#include <servers/vmm/x86/tables.h>

struct cursor {
    const uint8_t *bytes;
    unsigned avail, at;
    bool short_of_bytes, too_long; /* sticky; taken bytes are 0 from then on */
};

static inline uint8_t take(struct cursor *c)
{
    if (c->at >= X86_INSN_MAX)
        c->too_long = true;
    else if (c->at >= c->avail)
        c->short_of_bytes = true;
    if (c->too_long || c->short_of_bytes)
        return 0;
    return c->bytes[c->at++];
}

/* size 1, 2, 4 or 8 bytes, zero-extended. */
static inline uint64_t take_number(struct cursor *c, unsigned size)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < size; i++)
        value |= (uint64_t)take(c) << 8 * i;
    return value;
}

static inline uint64_t take_signed(struct cursor *c, unsigned size)
{
    uint64_t value = take_number(c, size);
    unsigned unused = 64 - 8 * size;
    return (uint64_t)((int64_t)(value << unused) >> unused);
}

/* decode_memory.c: the memory operand that ModRM, SIB and displacement describe, into in->mem */
void x86_take_mem(struct cursor *c, struct x86_insn *in);
/* .. and an address that stands in the instruction itself */
void x86_take_moffs(struct cursor *c, struct x86_insn *in);

/* decode_operand.c: an operand of this type; false if the encoding does not exist */
bool x86_take_operand(struct cursor *c, struct x86_insn *in, unsigned type, struct x86_operand *o);

#endif
