/* SPDX-License-Identifier: BSD-2-Clause */
/* Guest entries: formats, decoding, and the hardware entry that they allow. See pte.h.
 * Pure; checked against tests/model by tests/host/shadow/test_pte.c. */
#include "pte.h"

#include <umbra/vcpu.h>

static uint64_t bit_range(uint32_t high, uint32_t low)
{
    return high < low ? 0 : (~0ull >> (63 - high)) & (~0ull << low);
}

/* Reserved bits of PAE and long entries (figures 5-9 to 5-14, 5-18 to 5-26). G is reserved in non-leaf
 * entries of levels 3 and 4 on AMD processors, PS at level 4. */
static uint64_t reserved_wide(enum guest_format guest, uint32_t level, bool large, bool nxe,
                              uint32_t phys_bits)
{
    uint64_t mask = bit_range(51, phys_bits);
    if (guest == GUEST_PAE)
        mask |= bit_range(62, 52);
    if (!nxe)
        mask |= BIT(63);
    if (large && level > 1)
        mask |= bit_range(12 + (level - 1) * 9 - 1, 13);
    if (level == 4)
        mask |= BIT(7);
    if (level >= 3 && !large)
        mask |= BIT(8);
    return mask;
}

/* Only a 4 MB entry has reserved bits: those of its address (20..13 are 39..32) above MAXPHYADDR, and 21. */
static uint64_t reserved_32(uint32_t level, bool large, uint32_t phys_bits)
{
    if (level != 2 || !large)
        return 0;
    return bit_range(21, 13 + (phys_bits < 40 ? phys_bits - 32 : 8));
}

struct pte_format pte_format(enum guest_format guest, bool nxe, bool pse, uint32_t phys_bits)
{
    struct pte_format f = { .guest = guest, .nxe = nxe && guest != GUEST_32, .pse = pse };
    f.frame_mask = guest == GUEST_32 ? 0xfffff000ull : bit_range(51, 12);
    for (uint32_t level = 1; level <= 4; level++) {
        for (uint32_t large = 0; large < 2; large++)
            f.reserved[level][large] = guest == GUEST_32 ? reserved_32(level, large, phys_bits)
                                                         : reserved_wide(guest, level, large, nxe, phys_bits);
    }
    f.nx = f.nxe ? BIT(63) : 0;
    f.large = guest == GUEST_LONG ? BIT(2) | BIT(3) : guest == GUEST_PAE || f.pse ? BIT(2) : 0;
    return f;
}

/* Rights of a leaf with CR0.WP = 0: a supervisor may write what the guest's entries forbid. A user read-only
 * page has two forms: for users, and without U but with W after a supervisor's write (platform.md); the
 * second would evade SMAP and SMEP. */
void want_leaf_wp0(struct want *w, struct role r, uint32_t bits)
{
    bool user = r.fold_us && (bits & PTE_US), rw = r.fold_rw && (bits & PTE_RW);
    if (!user || rw) {
        w->may_write = (bits & PTE_D) != 0;
    } else if ((bits & PTE_D) && !r.smap) {
        w->alt_rights = SH_READ | SH_WRITE | SH_DIRTY | (r.smep ? 0 : w->rights & SH_EXEC);
    }
}
