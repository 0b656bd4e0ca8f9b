/* SPDX-License-Identifier: BSD-2-Clause */
/* The choice of the next event: over all inputs its rules, then rows for exceptions, double faults and HLT.
 */
// USES: servers/vmm/dev/irq.c
#include "check.h"
#include "servers/vmm/dev/irq.h"

#define INT(v)  EVENT_MAKE(v, EVENT_INTERRUPT)
#define EXC(v)  EVENT_MAKE(v, EVENT_EXCEPTION)
#define SOFT(v) EVENT_MAKE(v, EVENT_SOFTWARE)
#define ERR(v)  (EXC(v) | EVENT_HAS_ERROR | 5ull << 32)
#define DF      (EXC(8) | EVENT_HAS_ERROR)

TEST(irq_choice_keeps_its_rules_for_every_input)
{
    static const uint64_t interrupted[] = { 0,       INT(0x30), EVENT_MAKE(2, EVENT_NMI),
                                            EXC(1),  EXC(3),    SOFT(0x80),
                                            ERR(14), DF };
    static const uint64_t exception[] = { 0, EXC(6), ERR(13), ERR(14) };
    for (unsigned i = 0; i < 8 * 4 * 32; i++) {
        struct irq_input in = { .interrupted = interrupted[i % 8],
                                .exception = exception[i / 8 % 4],
                                .nmi = i >> 5 & 1,
                                .nmi_blocked = i >> 6 & 1,
                                .intr = i >> 7 & 1,
                                .flag_if = i >> 8 & 1,
                                .shadow = i >> 9 & 1 };
        struct irq_choice c = irq_choose(&in);
        bool software = in.interrupted == SOFT(0x80) || in.interrupted == EXC(3);
        check_note("input %u", i);
        if (c.what == IRQ_EXTERNAL)
            CHECK(in.intr && in.flag_if && !in.shadow && !in.exception && (!in.interrupted || software));
        if (c.what == IRQ_NMI)
            CHECK(in.nmi && !in.nmi_blocked && !in.shadow && !in.exception);
        if (c.what == IRQ_EVENT || c.what == IRQ_NMI)
            CHECK(c.event & EVENT_VALID);
        else
            CHECK_EQ(c.event, 0);
        if (c.window)
            CHECK(in.intr && !(in.shadow && c.what == IRQ_NONE)); /* never armed over a shadow */
        bool waits = in.intr || (in.nmi && !in.nmi_blocked);
        if (c.what == IRQ_NONE && waits)
            CHECK(c.window || c.look_again);
        if (in.intr && c.what != IRQ_EXTERNAL && c.what != IRQ_TRIPLE) /* an interrupt is never forgotten */
            CHECK(c.window || c.look_again);
        if (in.interrupted && !in.exception && !software)
            CHECK(c.what == IRQ_EVENT && c.event == in.interrupted && !c.drop);
        if (in.interrupted && (in.exception || software))
            CHECK(c.drop);
    }
}

TEST(irq_double_fault_rules)
{
    static const struct {
        uint64_t first, second, result;
    } row[] = {
        { EXC(1), ERR(13), ERR(13) },
        { INT(0x30), ERR(14), ERR(14) },
        { SOFT(0x80), ERR(13), ERR(13) },
        { ERR(13), EXC(1), EXC(1) },
        { ERR(13), ERR(13), DF },
        { EXC(0), ERR(11), DF },
        { ERR(13), ERR(14), ERR(14) },
        { ERR(14), ERR(14), DF },
        { ERR(14), ERR(13), DF },
        { ERR(14), EXC(6), EXC(6) },
        { DF, ERR(14), 0 },
        { DF, ERR(13), 0 },
        { DF, EXC(1), EXC(1) },
        { ERR(10), ERR(12), DF },
        { ERR(17), ERR(14), ERR(14) },
    };
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        check_note("row %zu", i);
        CHECK_EQ(irq_combine(row[i].first, row[i].second), row[i].result);
    }
    struct irq_input in = { .interrupted = DF, .exception = ERR(14) };
    CHECK_EQ(irq_choose(&in).what, IRQ_TRIPLE);
}

TEST(irq_halt_tells_forever_from_waiting)
{
    static const struct {
        bool intr, flag_if, nmi, possible;
        enum irq_halt halt;
    } row[] = {
        { 0, 1, 0, 0, IRQ_HALT_PARK },    { 0, 0, 0, 0, IRQ_HALT_FOREVER }, { 1, 1, 0, 0, IRQ_HALT_RUN },
        { 1, 0, 0, 0, IRQ_HALT_FOREVER }, { 0, 0, 1, 0, IRQ_HALT_RUN },     { 0, 0, 0, 1, IRQ_HALT_PARK },
    };
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        struct irq_input in = { .intr = row[i].intr, .flag_if = row[i].flag_if, .nmi = row[i].nmi };
        check_note("row %zu", i);
        CHECK_EQ(irq_halt(&in, row[i].possible), row[i].halt);
    }
}
