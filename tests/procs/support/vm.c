/* SPDX-License-Identifier: BSD-2-Clause */
/* See vm.h. */
#include "vm.h"

static bool good(err_t e, const char *what)
{
    if (e != ERR_OK)
        test_fail("vm.c", 0, what, e, ERR_OK);
    return e == ERR_OK;
}

static bool make_memory(struct vm_test *v)
{
    v->level2 = new_object(OBJ_PAGETABLE, 0);
    v->level1 = new_objects(OBJ_PAGETABLE, 0, 2);
    return vm_memory(v);
}

bool vm_memory(struct vm_test *v)
{
    bool ok = good(sys_invoke3(v->level2, PAGETABLE_MAP, v->space, 0, 2), "level 2 of guest memory");

    for (unsigned i = 0; i < 2; i++)
        ok = ok &&
             good(sys_invoke3(v->level1 + i, PAGETABLE_MAP, v->space, i << 21, 1), "level 1 of guest memory");
    for (unsigned i = 0; i < (1u << (VM_BITS - 12)) / CHANGE_PAGES_MAX; i++)
        ok = ok &&
             good(sys_invoke2(v->space, GUESTSPACE_CHANGE,
                              CHANGE_W0(v->range, CHANGE_MAP, RIGHT_READ | RIGHT_WRITE, CHANGE_PAGES_MAX),
                              CHANGE_W1(i * CHANGE_PAGES_MAX, i * CHANGE_PAGES_MAX)),
                  "map guest memory");
    return ok;
}

bool vm_vcpu(struct vm_test *v)
{
    return good(sys_invoke1(v->vcpu, VCPU_BIND, v->vm), "VCPU_BIND") &&
           good(sys_invoke1(v->vcpu, VCPU_BIND_NOTIFICATION, v->notification), "VCPU_BIND_NOTIFICATION") &&
           good(sys_invoke2(v->vcpu, VCPU_VIEW, v->exit_view, 0), "exit view") &&
           good(sys_invoke2(v->exit_view, VIEW_MAP, SLOT_VSPACE, (uint64_t)v->x), "map exit page") &&
           good(sys_invoke2(v->vcpu, VCPU_VIEW, v->reply_view, 1), "reply view") &&
           good(sys_invoke2(v->reply_view, VIEW_MAP, SLOT_VSPACE, (uint64_t)v->r), "map reply page");
}

static bool make_views(struct vm_test *v)
{
    uint64_t at = VM_PAGES_AT + v->place * 0x10000ul;

    return map_tables(SLOT_VSPACE, at) &&
           good(sys_invoke2(v->space, GUESTSPACE_VIEW, v->window, RIGHT_READ | RIGHT_WRITE), "window") &&
           good(sys_invoke2(v->window, VIEW_MAP, SLOT_VSPACE, (uint64_t)v->memory), "map window") &&
           good(sys_invoke1(v->vm, VM_VIEW, v->public_view), "public view") &&
           good(sys_invoke2(v->public_view, VIEW_MAP, SLOT_VSPACE, at + 0x2000), "map public page");
}

static bool make(struct vm_test *v, unsigned place, cptr_t vm_memory, unsigned paging)
{
    uint64_t at = VM_PAGES_AT + place * 0x10000ul;

    *v = (struct vm_test){ .place = place };
    v->space = new_object(OBJ_GUESTSPACE, 0);
    v->range = new_object(OBJ_RANGE, VM_BITS);
    v->vm = new_object_of(vm_memory ? vm_memory : TEST_UNTYPED, OBJ_VM, paging);
    v->vcpu = new_object(OBJ_VCPU, 0);
    v->notification = new_object(OBJ_NOTIFICATION, 0);
    v->window = new_slot();
    v->exit_view = new_slot();
    v->reply_view = new_slot();
    v->public_view = new_slot();
    cptr_t tables = new_objects(OBJ_SHADOW, 0, VM_TABLES);
    if (!v->space || !v->range || !v->vm || !v->vcpu || !tables) {
        test_fail("vm.c", 0, "objects", 0, 1);
        return false;
    }
    bool ok = good(sys_invoke1(v->vm, VM_BIND, v->space), "VM_BIND");
    for (unsigned i = 0; i < VM_TABLES; i++) {
        v->table[i] = tables + i;
        ok = ok && good(sys_invoke1(v->table[i], SHADOW_BIND, v->vm), "SHADOW_BIND");
    }
    v->x = (const volatile void *)at;
    v->r = (volatile void *)(at + 0x1000);
    v->public = (const volatile void *)(at + 0x2000);
    v->memory = (volatile uint8_t *)(VM_WINDOW + place * (1ul << 39));
    return ok && make_memory(v) && make_views(v) && vm_vcpu(v);
}

bool vm_make(struct vm_test *v)
{
    return make(v, 0, 0, VM_PAGING_SHADOW);
}

bool vm_make_at(struct vm_test *v, unsigned place, cptr_t vm_memory)
{
    return make(v, place, vm_memory, VM_PAGING_SHADOW);
}

bool vm_make_nested(struct vm_test *v, unsigned place)
{
    return make(v, place, 0, VM_PAGING_NESTED);
}

void vm_load(struct vm_test *v, uint64_t gpa, const void *bytes, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        v->memory[gpa + i] = ((const uint8_t *)bytes)[i];
}

void op(struct vm_test *v, uint64_t word)
{
    v->r->ops[v->words++] = word;
}

err_t vm_recv(struct vm_test *v)
{
    struct sys_message m = { 0 };
    return sys_recv(v->vcpu, 0, &m);
}

err_t vm_reply(struct vm_test *v, uint64_t *index)
{
    struct sys_message m = { 0 };

    v->r->seq = v->x->seq;
    v->r->op_words = v->words;
    err_t e = sys_reply_recv(v->vcpu, 0, &m);
    if (index)
        *index = m.w[0];
    v->words = 0;
    v->r->groups = v->r->flags = v->r->gpr_mask = 0;
    v->r->event = 0;
    return e;
}

void vm_identity(struct vm_test *v, unsigned pages)
{
    op(v, OP_W0(OP_SETUP, 0, SHADOW_KIND(SHADOW_PAE, 2), v->table[0]));
    op(v, OP_W0(OP_SETUP, 0, SHADOW_KIND(SHADOW_PAE, 1), v->table[1]));
    op(v, OP_W0(OP_LINK, SH_READ | SH_WRITE | SH_USER | SH_EXEC, 0, v->table[0]));
    op(v, v->table[1]);
    op(v, OP_W0(OP_FILL_RUN, SH_READ | SH_WRITE | SH_USER | SH_EXEC, 0, v->table[1]));
    op(v, OP_W1_RUN(0, pages));
    op(v, OP_W0(OP_SET_ROOT, 0, 0, v->table[0]));
}

void vm_real_mode(struct vm_test *v, uint16_t ip)
{
    v->r->groups |= STATE_RIP | STATE_RFLAGS | STATE_SEGMENTS | STATE_CONTROL | STATE_GPRS;
    v->r->rip = ip;
    v->r->rflags = 2;
    v->r->cr0 = 0x10;
    v->r->cr4 = v->r->efer = v->r->cr3 = 0;
    for (unsigned i = 0; i < SEGS; i++) {
        v->r->seg[i].selector = 0;
        v->r->seg[i].attributes = i == SEG_CS ? 0x9b : i == SEG_TR ? 0x8b : i == SEG_LDTR ? 0x82 : 0x93;
        v->r->seg[i].limit = 0xffff;
        v->r->seg[i].base = 0;
    }
    v->r->gpr_mask = 1u << RSP;
    v->r->gpr[RSP] = 0x7c00;
}

void vm_long_mode(struct vm_test *v, uint64_t rip, uint64_t rsp, bool user)
{
    vm_real_mode(v, 0);
    v->r->rip = rip;
    v->r->gpr[RSP] = rsp;
    v->r->cr0 = 0x80000033;
    v->r->cr4 = 0x620;
    v->r->efer = 0xd01;
    for (unsigned i = 0; i <= SEG_GS; i++) {
        v->r->seg[i].selector = i == SEG_CS ? 8 : 16;
        v->r->seg[i].attributes = (i == SEG_CS ? 0xa9b : 0xc93) | (user ? 0x60 : 0);
        v->r->seg[i].limit = 0xffffffff;
    }
}

static void four_levels(struct vm_test *v, unsigned format)
{
    for (unsigned i = 0; i < 4; i++)
        op(v, OP_W0(OP_SETUP, 0, SHADOW_KIND(format, 4 - i), v->table[2 + i]));
    for (unsigned i = 0; i < 3; i++) {
        op(v, OP_W0(OP_LINK, SH_READ | SH_WRITE | SH_USER | SH_EXEC, 0, v->table[2 + i]));
        op(v, v->table[3 + i]);
    }
    op(v, OP_W0(OP_SET_ROOT, 0, 0, v->table[2]));
}

void vm_long_tables(struct vm_test *v)
{
    four_levels(v, SHADOW_LONG);
}

void vm_nested_tables(struct vm_test *v)
{
    four_levels(v, SHADOW_NESTED);
}

void vm_skip(struct vm_test *v, unsigned n)
{
    v->r->groups |= STATE_RIP;
    v->r->rip = v->x->rip + n;
    v->r->shadow = 0;
}

bool vm_audit(const struct vm_test *v)
{
    struct sys_message m = { .tag = TAG(KERNEL_AUDIT, 1), .w = { v->vcpu } };
    bool ok = good(sys_call(SLOT_KERNEL, &m), "KERNEL_AUDIT");

    if (ok && (m.w[0] || m.w[2] != m.w[3])) {
        print_number("# audit: 0x", m.w[0], " violations");
        print_number(", 0x", m.w[2], " links counted");
        print_number(", 0x", m.w[3], " found\n");
        ok = false;
    }
    return ok;
}
