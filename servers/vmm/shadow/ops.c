/* SPDX-License-Identifier: BSD-2-Clause */
/* Encoders of reply operations (vcpu.h). Runs of fills and drops in one table become one operation: extending
 * the last one keeps the order of effects. The caller has checked the room. */
#include "internal.h"

static void append(struct shadow_ops *ops, uint64_t word)
{
    ops->word[ops->count++] = word;
}

static void begin(struct shadow_ops *ops, uint64_t word)
{
    ops->last = ops->count + 1;
    append(ops, word);
}

/* The last operation if it has this code, rights and table, else NULL. */
static uint64_t *last_like(struct shadow_ops *ops, uint32_t code, uint32_t rights, cptr_t cap)
{
    if (ops->last == 0 || ops->last > ops->count)
        return NULL;
    uint64_t *w = &ops->word[ops->last - 1];
    uint64_t same = ~(0xffffull << 16); /* all but the index */
    return (w[0] & same) == OP_W0(code, rights, 0, cap) ? w : NULL;
}

void op_setup(struct shadow_ops *ops, cptr_t cap, struct role role)
{
    begin(ops, OP_W0(OP_SETUP, 0, SHADOW_KIND(role.hw, role.level), cap));
}

void op_link(struct shadow_ops *ops, cptr_t cap, uint32_t index, uint32_t rights, cptr_t child)
{
    begin(ops, OP_W0(OP_LINK, rights, index, cap));
    append(ops, child);
}

void op_fill_run(struct shadow_ops *ops, cptr_t cap, uint32_t index, uint32_t rights, uint64_t gfn,
                 uint32_t n)
{
    uint64_t *w = last_like(ops, OP_FILL_RUN, rights, cap);
    if (w) {
        uint64_t first = w[0] >> 16 & 0xffff, start = w[1] & (BIT(48) - 1), have = w[1] >> 48;
        if (index == first + have && gfn == start + have) {
            w[1] = OP_W1_RUN(start, have + n);
            return;
        }
    }
    begin(ops, OP_W0(OP_FILL_RUN, rights, index, cap));
    append(ops, OP_W1_RUN(gfn, n));
}

void op_fill(struct shadow_ops *ops, cptr_t cap, uint32_t index, uint32_t rights, uint64_t gfn)
{
    op_fill_run(ops, cap, index, rights, gfn, 1);
}

void op_downgrade(struct shadow_ops *ops, cptr_t cap, const uint64_t mask[MASK_WORDS], uint32_t rights)
{
    begin(ops, OP_W0(OP_DOWNGRADE, rights, 0, cap));
    uint64_t *to = &ops->word[ops->count];
#pragma GCC unroll 8
    for (uint32_t i = 0; i < MASK_WORDS; i++)
        to[i] = mask[i];
    ops->count += MASK_WORDS;
}

void op_drop(struct shadow_ops *ops, cptr_t cap, uint32_t index)
{
    uint64_t *w = last_like(ops, OP_DOWNGRADE, 0, cap);
    if (w && (w[0] >> 16 & 0xffff) == 0)
        mask_set(w + 1, index);
    else
        begin(ops, OP_W0(OP_DROP, 0, index, cap));
}

void op_clear(struct shadow_ops *ops, cptr_t cap)
{
    begin(ops, OP_W0(OP_CLEAR, 0, 0, cap));
}

void op_set_root(struct shadow_ops *ops, cptr_t cap, uint32_t index)
{
    begin(ops, OP_W0(OP_SET_ROOT, 0, index, cap));
}

void op_root_list(struct shadow_ops *ops, uint32_t slot, cptr_t cap, uint64_t cr3)
{
    begin(ops, OP_W0(OP_ROOT_LIST, 0, slot, cap));
    append(ops, cr3);
}

void op_flush(struct shadow_ops *ops)
{
    begin(ops, OP_W0(OP_FLUSH, 0, 0, 0));
}
