/* SPDX-License-Identifier: BSD-2-Clause */
/* Control registers: every way into and out of long mode, each refusal, what a change means for shadow
 * tables, and the invariants over random walks. */
// USES: servers/vmm/policy/*.c
#include "check.h"
#include "servers/vmm/policy/cr.h"

static struct cr_limits limits(void)
{
    struct cpuid_host h;
    for (int i = 0; i < CPUID_HOST_ROWS; i++)
        h.row[i] = (struct cpuid_regs){ 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff };
    return cr_limits_of(&h);
}

#define REAL                                                                                                 \
    {                                                                                                        \
        .cr0 = CR0_ET                                                                                        \
    }
#define PM                                                                                                   \
    {                                                                                                        \
        .cr0 = CR0_ET | CR0_PE                                                                               \
    }
#define PG32                                                                                                 \
    {                                                                                                        \
        .cr0 = CR0_ET | CR0_PE | CR0_PG                                                                      \
    }
#define PGPAE                                                                                                \
    {                                                                                                        \
        .cr0 = CR0_ET | CR0_PE | CR0_PG, .cr4 = CR4_PAE                                                      \
    }
#define READY                                                                                                \
    {                                                                                                        \
        .cr0 = CR0_ET | CR0_PE, .cr4 = CR4_PAE, .efer = EFER_LME                                             \
    }
#define COMPAT                                                                                               \
    {                                                                                                        \
        .cr0 = CR0_ET | CR0_PE | CR0_PG, .cr4 = CR4_PAE, .efer = EFER_LME | EFER_LMA                         \
    }
#define LONG64                                                                                               \
    {                                                                                                        \
        .cr0 = CR0_ET | CR0_PE | CR0_PG, .cr4 = CR4_PAE, .efer = EFER_LME | EFER_LMA, .cs_long = true        \
    }
#define LONGG                                                                                                \
    {                                                                                                        \
        .cr0 = CR0_ET | CR0_PE | CR0_PG, .cr4 = CR4_PAE | CR4_PGE, .efer = EFER_LME | EFER_LMA,              \
        .cs_long = true                                                                                      \
    }

TEST(cr0_writes)
{
    static const struct {
        struct cr_state s;
        uint64_t value;
        bool gp;
        enum paging mode;
        bool changed, rights, pdptes;
        enum cr_flush flush;
    } row[] = {
        { REAL, CR0_PE, false, PAGING_NONE, 0, 0, 0, CR_FLUSH_NONE },
        { REAL, CR0_PG, true, PAGING_NONE, 0, 0, 0, 0 },
        { REAL, CR0_NW, true, PAGING_NONE, 0, 0, 0, 0 },
        { REAL, CR0_NW | CR0_CD, false, PAGING_NONE, 0, 0, 0, 0 },
        { REAL, BIT(32), true, PAGING_NONE, 0, 0, 0, 0 },
        { REAL, CR0_PE | CR0_PG, false, PAGING_32, 1, 0, 0, CR_FLUSH_ALL },
        { PM, CR0_PE | CR0_PG | CR0_WP, false, PAGING_32, 1, 1, 0, CR_FLUSH_ALL },
        { PG32, CR0_PE | CR0_PG | CR0_WP, false, PAGING_32, 0, 1, 0, CR_FLUSH_NONE },
        { PG32, CR0_PE | CR0_PG | CR0_TS, false, PAGING_32, 0, 0, 0, CR_FLUSH_NONE },
        { PG32, CR0_PE, false, PAGING_NONE, 1, 0, 0, CR_FLUSH_ALL },
        { PG32, 0, false, PAGING_NONE, 1, 0, 0, CR_FLUSH_ALL },
        { READY, CR0_PE | CR0_PG, false, PAGING_LONG, 1, 0, 0, CR_FLUSH_ALL },
        { { .cr0 = CR0_PE, .efer = EFER_LME }, CR0_PE | CR0_PG, true, PAGING_NONE, 0, 0, 0, 0 },
        { { .cr0 = CR0_PE, .cr4 = CR4_PAE, .efer = EFER_LME, .cs_long = true },
          CR0_PE | CR0_PG,
          true,
          0,
          0,
          0,
          0,
          0 },
        { { .cr0 = CR0_PE, .cr4 = CR4_PAE }, CR0_PE | CR0_PG, false, PAGING_PAE, 1, 0, 1, CR_FLUSH_ALL },
        { PGPAE, CR0_PE | CR0_PG | CR0_CD, false, PAGING_PAE, 0, 0, 1, CR_FLUSH_NONE },
        { COMPAT, CR0_PE, false, PAGING_NONE, 1, 0, 0, CR_FLUSH_ALL },
        { LONG64, CR0_PE, true, PAGING_LONG, 0, 0, 0, 0 },
        { LONG64, CR0_PE | CR0_PG | CR0_WP, false, PAGING_LONG, 0, 1, 0, CR_FLUSH_NONE },
    };
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        struct cr_result r = cr_write_cr0(&row[i].s, row[i].value);
        check_note("row %zu", i);
        CHECK_EQ(r.gp, row[i].gp);
        CHECK_EQ(cr_paging(&r.next), row[i].mode);
        CHECK_EQ(r.paging_changed, row[i].changed);
        CHECK_EQ(r.rights_changed, row[i].rights);
        CHECK_EQ(r.load_pdptes, row[i].pdptes);
        CHECK_EQ(r.flush, row[i].flush);
        if (r.gp)
            CHECK_EQ(r.next.cr0, row[i].s.cr0);
    }
}

TEST(cr0_reserved_bits_are_dropped_and_et_stays)
{
    struct cr_state s = REAL;
    CHECK_EQ(cr_write_cr0(&s, 0x1ffeffc0).next.cr0, 0x00040010); /* AM; the others are reserved */
    CHECK_EQ(cr_write_cr0(&s, 0).next.cr0, CR0_ET);
}

TEST(cr3_writes)
{
    static const struct {
        struct cr_state s;
        uint64_t value;
        bool gp, pdptes;
        enum cr_flush flush;
    } row[] = {
        { PM, 0x1000, 0, 0, CR_FLUSH_NONE },          { PG32, 0xfffff018, 0, 0, CR_FLUSH_ALL },
        { PGPAE, 0x1020, 0, 1, CR_FLUSH_ALL },        { LONG64, 0xfffffff018, 0, 0, CR_FLUSH_ALL },
        { LONGG, 0x1000, 0, 0, CR_FLUSH_NON_GLOBAL }, { LONG64, BIT(40), 1, 0, CR_FLUSH_NONE },
        { LONG64, BIT(63), 1, 0, CR_FLUSH_NONE },
    };
    struct cr_limits l = limits();
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        struct cr_result r = cr_write_cr3(&row[i].s, &l, row[i].value);
        check_note("row %zu", i);
        CHECK_EQ(r.gp, row[i].gp);
        CHECK_EQ(r.load_pdptes, row[i].pdptes);
        CHECK_EQ(r.flush, row[i].flush);
        CHECK_EQ(r.next.cr3, row[i].gp ? 0 : row[i].value);
    }
}

TEST(cr4_writes)
{
    static const struct {
        struct cr_state s;
        uint64_t value;
        bool gp, changed, rights, pdptes;
        enum cr_flush flush;
    } row[] = {
        { PM, CR4_PAE, 0, 0, 0, 0, CR_FLUSH_ALL },
        { PG32, CR4_PAE, 0, 1, 0, 1, CR_FLUSH_ALL },
        { PG32, CR4_PSE, 0, 0, 0, 0, CR_FLUSH_ALL },
        { PGPAE, CR4_PAE | CR4_PGE, 0, 0, 0, 1, CR_FLUSH_ALL },
        { PGPAE, CR4_PAE | CR4_SMEP, 0, 0, 1, 1, CR_FLUSH_NONE },
        { PGPAE, 0, 0, 1, 0, 0, CR_FLUSH_ALL },
        { LONG64, CR4_PAE | CR4_SMAP | CR4_OSFXSR | CR4_FSGSBASE, 0, 0, 1, 0, CR_FLUSH_NONE },
        { LONG64, 0, 1, 0, 0, 0, CR_FLUSH_NONE },
        { LONG64, CR4_PAE | BIT(0), 1, 0, 0, 0, 0 },  /* VME */
        { LONG64, CR4_PAE | BIT(6), 1, 0, 0, 0, 0 },  /* MCE */
        { LONG64, CR4_PAE | BIT(11), 1, 0, 0, 0, 0 }, /* UMIP */
        { LONG64, CR4_PAE | BIT(12), 1, 0, 0, 0, 0 }, /* LA57 */
        { LONG64, CR4_PAE | BIT(17), 1, 0, 0, 0, 0 }, /* PCIDE */
        { LONG64, CR4_PAE | BIT(18), 1, 0, 0, 0, 0 }, /* OSXSAVE */
        { LONG64, CR4_PAE | BIT(22), 1, 0, 0, 0, 0 }, /* PKE */
        { LONG64, CR4_PAE | BIT(40), 1, 0, 0, 0, 0 },
    };
    struct cr_limits l = limits();
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        struct cr_result r = cr_write_cr4(&row[i].s, &l, row[i].value);
        check_note("row %zu", i);
        CHECK_EQ(r.gp, row[i].gp);
        CHECK_EQ(r.paging_changed, row[i].changed);
        CHECK_EQ(r.rights_changed, row[i].rights);
        CHECK_EQ(r.load_pdptes, row[i].pdptes);
        CHECK_EQ(r.flush, row[i].flush);
    }
}

TEST(cr4_bits_follow_cpuid)
{
    struct cpuid_host none = { 0 };
    struct cr_limits l = cr_limits_of(&none);
    struct cr_state s = LONG64;
    CHECK(cr_write_cr4(&s, &l, CR4_PAE | CR4_SMEP).gp);
    CHECK(cr_write_cr4(&s, &l, CR4_PAE | CR4_SMAP).gp);
    CHECK(cr_write_cr4(&s, &l, CR4_PAE | CR4_FSGSBASE).gp);
    CHECK(cr_write_efer(&s, &l, s.efer | EFER_NXE).gp);
    l = limits();
    CHECK(!cr_write_cr4(&s, &l, CR4_PAE | CR4_SMEP | CR4_SMAP | CR4_FSGSBASE).gp);
}

TEST(cr8_writes)
{
    struct cr_state s = LONG64;
    CHECK_EQ(cr_write_cr8(&s, 15).next.cr8, 15);
    CHECK(cr_write_cr8(&s, 16).gp);
}

TEST(efer_writes)
{
    static const struct {
        struct cr_state s;
        uint64_t value, efer;
        bool gp, rights;
    } row[] = {
        { PM, EFER_LME, EFER_LME, 0, 0 },
        { PM, EFER_LME | EFER_LMA | EFER_SCE, EFER_LME | EFER_SCE, 0, 0 },
        { PM, EFER_NXE, EFER_NXE, 0, 1 },
        { PM, EFER_SVME, 0, 1, 0 },
        { PM, BIT(13), 0, 1, 0 }, /* LMSLE */
        { PM, BIT(14), 0, 1, 0 }, /* FFXSR */
        { PM, BIT(1), 0, 1, 0 },
        { PM, BIT(32), 0, 1, 0 },
        { PG32, EFER_LME, 0, 1, 0 },
        { LONG64, EFER_NXE, EFER_LME | EFER_LMA, 1, 0 },
        { LONG64, EFER_LME | EFER_NXE, EFER_LME | EFER_LMA | EFER_NXE, 0, 1 },
    };
    struct cr_limits l = limits();
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        struct cr_result r = cr_write_efer(&row[i].s, &l, row[i].value);
        check_note("row %zu", i);
        CHECK_EQ(r.gp, row[i].gp);
        CHECK_EQ(r.next.efer, row[i].efer);
        CHECK_EQ(r.rights_changed, row[i].rights);
    }
}

TEST(lmsw_sets_pe_but_never_clears_it)
{
    struct cr_state real = REAL, paged = PG32;
    CHECK_EQ(cr_lmsw(&real, 0xffff).next.cr0, CR0_ET | CR0_PE | CR0_MP | CR0_EM | CR0_TS);
    CHECK_EQ(cr_lmsw(&paged, 0).next.cr0, paged.cr0);
    paged.cr0 |= CR0_TS | CR0_MP;
    CHECK_EQ(cr_lmsw(&paged, 0).next.cr0, CR0_ET | CR0_PE | CR0_PG);
    CHECK_EQ(cr_clts(&paged).next.cr0, CR0_ET | CR0_PE | CR0_PG | CR0_MP);
}

TEST(cr_invariants_hold_on_random_walks)
{
    struct cr_limits l = limits();
    struct cr_state s = REAL;
    uint64_t x = 1442695040888963407ull;
    unsigned seen[4] = { 0 };
    for (int i = 0; i < 400000; i++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        uint64_t one = BIT(x >> 8 & 63), pick = x >> 16;
        struct cr_result r;
        switch (x & 7) {
        case 0:
            r = cr_write_cr0(&s, s.cr0 ^ one);
            break;
        case 1:
            r = cr_write_cr0(&s, s.cr0 ^ (pick & 1 ? CR0_PG : CR0_PE));
            break;
        case 2:
            r = cr_write_cr4(&s, &l, s.cr4 ^ one);
            break;
        case 3:
            r = cr_write_cr4(&s, &l, s.cr4 ^ CR4_PAE);
            break;
        case 4:
            r = cr_write_efer(&s, &l, s.efer ^ (pick & 1 ? one : EFER_LME));
            break;
        case 5:
            r = cr_write_cr3(&s, &l, x);
            break;
        case 6:
            r = cr_lmsw(&s, (uint16_t)pick);
            break;
        default:
            r = (struct cr_result){ .next = s };
            r.next.cs_long = !s.cs_long && (s.efer & EFER_LMA);
        }
        if (r.gp) {
            CHECK(r.next.cr0 == s.cr0 && r.next.cr3 == s.cr3 && r.next.cr4 == s.cr4 && r.next.efer == s.efer);
            CHECK(!r.flush && !r.load_pdptes && !r.paging_changed && !r.rights_changed);
        } else if ((x & 7) != 7) {
            CHECK_EQ(r.paging_changed, cr_paging(&s) != cr_paging(&r.next));
            if (r.paging_changed)
                CHECK_EQ(r.flush, CR_FLUSH_ALL);
        }
        s = r.next;
        bool lme = s.efer & EFER_LME, pg = s.cr0 & CR0_PG;
        CHECK_EQ((s.efer & EFER_LMA) != 0, lme && pg);
        CHECK(!pg || (s.cr0 & CR0_PE));
        CHECK(!(s.efer & EFER_LMA) || (s.cr4 & CR4_PAE));
        CHECK(!(s.cr4 & ~l.cr4_valid) && !(s.efer & ~l.efer_valid) && !(s.cr0 >> 32));
        seen[cr_paging(&s)]++;
    }
    for (int i = 0; i < 4; i++)
        CHECK_LT(100, seen[i]);
}
