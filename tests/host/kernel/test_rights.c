/* SPDX-License-Identifier: BSD-2-Clause */
/* What a capability without a right, or of a smaller range, does not do: as a method's object, as an
 * argument, as the way to others; what a copy keeps. Messages and signals: test_message_rights.c. */
// USES: kernel/obj/a*.c kernel/obj/cnode.c kernel/obj/[d-v]*.c kernel/[dfils]*.c
// USES: tests/host/kernel/fake_arch.c tests/host/kernel/world.c tests/host/kernel/cap_inside.c
#include "obj/derive.h"
#include "world.h"
#include <string.h>

#define METHODS  16u
#define AT       20u /* a slot of the root CNode */
#define SUB_AT   21u
#define SUB_BITS 2u
#define RIGHTS   16u

static struct cap *set(unsigned slot, unsigned type, unsigned rights)
{
    struct cap *c = &root_slots[slot];

    c->type = type;
    c->rights = rights;
    return c;
}

static err_t invoke_root(struct cap *c, uint32_t method, uint64_t a, uint64_t b, uint64_t third)
{
    struct call k = { .cap = c,
                      .method = method,
                      .words = 3,
                      .w = { a, b, third },
                      .cspace = root_slots,
                      .cspace_bits = CNODE_BITS };
    return call_once(&k);
}

static void begin(void)
{
    log_refusals = false;
    world_init();
}

TEST(an_argument_needs_its_type_and_each_of_its_rights)
{
    begin();
    struct tcb *t = world_caller(0);
    t->cspace = (struct cap){ .type = OBJ_CNODE, .bits = CNODE_BITS, .obj = CNODE_AT };
    for (unsigned type = OBJ_NULL; type < OBJ_TYPES; type++)
        for (unsigned has = 0; has < RIGHTS; has++) {
            struct cap *given = set(AT, type, has);
            for (unsigned asked = OBJ_NULL + 1; asked < OBJ_TYPES; asked++)
                for (unsigned needs = 0; needs < RIGHTS; needs++) {
                    struct cap *c = NULL;
                    err_t e = cspace_cap(t, AT, asked, needs, &c);
                    bool fits = type == asked && !(needs & ~has);
                    check_note("type %u for %u, rights %x for %x", type, asked, has, needs);
                    CHECK_EQ(e == ERR_OK, fits);
                    CHECK(c == (fits ? given : NULL));
                }
        }
}

TEST(no_method_is_for_who_may_not_write)
{
    begin();
    for (unsigned type = OBJ_NULL + 1; type < OBJ_TYPES; type++)
        for (unsigned rights = 0; rights < RIGHTS; rights++)
            for (unsigned method = 0; method < METHODS && !(rights & RIGHT_WRITE); method++) {
                if (type == OBJ_FRAME ||
                    type == OBJ_VIEW) /* what they map has no more rights: kernel.whole */
                    continue;
                check_note("%s method %u rights %x", object_name(type), method, rights);
                err_t e = invoke_root(set(AT, type, rights), method, 0, 0, 0);
                CHECK(e == ERR_NO_RIGHT || e == ERR_BAD_METHOD);
                if (type == OBJ_UNTYPED || type == OBJ_CNODE || type == OBJ_TCB || type == OBJ_VCPU ||
                    type == OBJ_IOPORT)
                    CHECK_EQ(e, ERR_NO_RIGHT);
            }
}

TEST(nothing_is_moved_out_of_a_cnode_that_is_only_read)
{
    for (unsigned rights = 0; rights < RIGHTS; rights++) {
        begin();
        struct cap *sub = set(SUB_AT, OBJ_CNODE, rights), *inner = phys((hpa_t){ UNTYPED_AT });
        memset(inner, 0, sizeof(*inner) << SUB_BITS);
        sub->bits = SUB_BITS;
        sub->obj = UNTYPED_AT;
        inner[1] = (struct cap){ .type = OBJ_ENDPOINT, .rights = RIGHT_ALL, .obj = UNTYPED_AT + 0x1000 };
        err_t e = invoke_root(&root_slots[SLOT_ROOT], CNODE_MOVE, AT, CPTR_SUB(SUB_AT, 1), 0);
        CHECK_EQ(e, rights & RIGHT_WRITE ? ERR_OK : ERR_NO_RIGHT);
        CHECK_EQ(root_slots[AT].type, rights & RIGHT_WRITE ? OBJ_ENDPOINT : OBJ_NULL);
        CHECK_EQ(inner[1].type, rights & RIGHT_WRITE ? OBJ_NULL : OBJ_ENDPOINT);
    }
}

/* --- ports --- */

static void try_access(struct cap *c, uint64_t port, uint64_t width)
{
    bool of_a_kind = width == 1 || width == 2 || width == 4;
    bool inside = port >= c->obj && port <= c->d0 && width - 1 <= c->d0 - port;
    err_t expected = !of_a_kind ? ERR_RANGE : inside ? ERR_OK : ERR_PORT;

    check_note("port %#lx width %lu of %#lx..%#lx", port, width, c->obj, c->d0);
    CHECK_EQ(invoke_root(c, IOPORT_IN, port, width, 0), expected);
    CHECK_EQ(invoke_root(c, IOPORT_OUT, port, width, 0), expected);
}

static void try_narrow(struct cap *c, uint64_t first, uint64_t last)
{
    struct cap *to = &root_slots[AT + 1];
    bool inside = first >= c->obj && last <= c->d0 && first <= last;

    check_note("%#lx..%#lx of %#lx..%#lx", first, last, c->obj, c->d0);
    CHECK_EQ(invoke_root(c, IOPORT_NARROW, AT + 1, first, last), inside ? ERR_OK : ERR_PORT);
    CHECK_EQ(to->type, inside ? OBJ_IOPORT : OBJ_NULL);
    if (!inside)
        return;
    CHECK(to->obj == first && to->d0 == last && to->rights == c->rights);
    cap_clear(to);
}

TEST(a_port_capability_reaches_its_ports_only)
{
    static const uint64_t bases[] = { 0, 0x3f8, 0xfff8 };

    begin();
    struct cap *c = set(AT, OBJ_IOPORT, RIGHT_ALL);
    cap_insert(c, NULL);
    for (unsigned b = 0; b < 3; b++)
        for (unsigned first = 0; first < 8; first++)
            for (unsigned last = first; last < 8; last++) {
                c->obj = bases[b] + first;
                c->d0 = bases[b] + last;
                for (uint64_t p = bases[b] - 2; p != bases[b] + 12; p++) { /* some are no ports */
                    for (unsigned width = 0; width <= 8; width++)
                        try_access(c, p, width);
                    for (uint64_t to = bases[b] - 2; to != bases[b] + 12; to++)
                        try_narrow(c, p, to);
                }
                try_access(c, c->obj, UINT64_MAX);
            }
}

/* --- copies --- */

TEST(a_badge_that_was_given_is_marked_and_kept)
{
    static struct cap from, to;
    const unsigned kept = CAP_DEVICE | CAP_BADGED | CAP_LARGE;

    begin();
    cap_insert(&from, NULL);
    for (unsigned type = OBJ_NULL + 1; type < OBJ_TYPES; type++)
        for (unsigned flags = 0; flags < 256; flags++)
            for (unsigned badge = 0; badge < 2; badge++) {
                bool badged = badge && (type == OBJ_ENDPOINT || type == OBJ_NOTIFICATION);
                from.type = type;
                from.flags = flags;
                from.child = NULL;
                memset(&to, 0, sizeof(to));
                cap_derive(&to, &from, RIGHT_ALL, badge);
                check_note("type %u flags %x badge %u", type, flags, badge);
                CHECK_EQ(to.flags, (flags & kept) | (badged ? CAP_BADGED : 0));
                if (to.flags & CAP_BADGED)
                    CHECK_NE(cap_derive_check(&(struct cap){ 0 }, &to, 9), ERR_OK);
            }
}
