/* SPDX-License-Identifier: BSD-2-Clause */
/* Figures of the kernel and of the exit path, in instructions under -icount (TSC ticks), medians of many
 * rounds. Lines: BENCH name value unit key=value.. with the crossings of one round. */
// ICOUNT: 1
#include "support/harness.h"

#define ROUNDS 101

static uint64_t samples[ROUNDS];

static uint64_t median(void)
{
    for (unsigned i = 1; i < ROUNDS; i++)
        for (unsigned k = i; k && samples[k] < samples[k - 1]; k--) {
            uint64_t t = samples[k];
            samples[k] = samples[k - 1];
            samples[k - 1] = t;
        }
    return samples[ROUNDS / 2];
}

static void print_decimal(uint64_t v)
{
    char text[24];
    unsigned i = sizeof(text);

    text[--i] = 0;
    do {
        text[--i] = '0' + v % 10;
        v /= 10;
    } while (v);
    print(text + i);
}

/* Crossings of ROUNDS rounds: read before and after. */
struct counts {
    uint64_t c[COUNT_KERNEL_MAX];
};

static struct counts read_counts(void)
{
    struct counts r;
    struct sys_message m = { .tag = TAG(KERNEL_COUNTERS, 0) };

    sys_call(SLOT_KERNEL, &m);
    for (unsigned i = 0; i < COUNT_KERNEL_MAX; i++)
        r.c[i] = i < MSG_REGISTERS ? m.w[i] : IPC->words[i];
    return r;
}

static void show(const char *name, const struct counts *before, const struct counts *after)
{
    static const struct {
        const char *key;
        unsigned counter;
    } keys[] = { { " exits=", COUNT_EXITS },
                 { " syscalls=", COUNT_SYSCALLS },
                 { " cr3=", COUNT_CR3_LOADS },
                 { " fpu=", COUNT_FPU_SWITCHES } };
    print("BENCH ");
    print(name);
    print(" ");
    print_decimal(median());
    print(" instructions");
    for (unsigned i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        print(keys[i].key);
        print_decimal((after->c[keys[i].counter] - before->c[keys[i].counter]) / ROUNDS);
    }
    print("\n");
}

/* What reading the clock twice costs is not part of any figure. */
static uint64_t clock_cost(void)
{
    uint64_t a = now(), b = now();
    return b - a;
}

TEST(kernel_null)
{
    struct counts before = read_counts();

    for (unsigned i = 0; i < ROUNDS; i++) {
        uint64_t start = now();
        sys_null();
        samples[i] = now() - start - clock_cost();
    }
    struct counts after = read_counts();
    show("kernel.null", &before, &after);
}

/* A server in an address space of its own: code copied to a page there, an IPC buffer, no stack. */
#define PEER_CODE   0x500000ul
#define PEER_BUFFER 0x501000ul
#define COPY_AT     0x18000000ul

extern const uint8_t peer_echo[], peer_fault[], peer_end[];

static bool peer_make(const uint8_t *entry, cptr_t endpoint, cptr_t reply)
{
    cptr_t space = new_object(OBJ_VSPACE, 0), tcb = new_object(OBJ_TCB, 0), sched = new_object(OBJ_SCHED, 0);
    cptr_t code = map_frame(SLOT_VSPACE, COPY_AT, RIGHT_ALL), there = new_slot();
    volatile uint8_t *page = (volatile uint8_t *)COPY_AT;
    uint64_t start = PEER_CODE + (uint64_t)(entry - peer_echo);
    struct sys_message m = { .tag = TAG(TCB_WRITE_REGS, 6),
                             .w = { start, 0, endpoint | (uint64_t)reply << 32, 0 } };

    if (!code)
        return false;
    for (const uint8_t *c = peer_echo; c < peer_end; c++)
        page[c - peer_echo] = *c;
    cptr_t buffer = map_frame(space, PEER_BUFFER, RIGHT_READ | RIGHT_WRITE);
    IPC->words[4] = IPC->words[5] = 0;
    return buffer && sys_invoke3(SLOT_CNODE, CNODE_COPY, there, code, RIGHT_ALL) == ERR_OK &&
           sys_invoke3(there, FRAME_MAP, space, PEER_CODE, RIGHT_READ | RIGHT_EXEC) == ERR_OK &&
           sys_invoke4(sched, SCHED_CONFIGURE, SLOT_SCHEDCONTROL, 10000000, 10000000, 255) == ERR_OK &&
           sys_invoke4(tcb, TCB_CONFIGURE, SLOT_CNODE, space, buffer, 0) == ERR_OK &&
           sys_invoke2(tcb, TCB_SET_SCHED, sched, 255) == ERR_OK && sys_call(tcb, &m) == ERR_OK &&
           sys_invoke0(tcb, TCB_RESUME) == ERR_OK;
}

static void call_reply(const char *name, unsigned words)
{
    cptr_t endpoint = new_object(OBJ_ENDPOINT, 0), reply = new_object(OBJ_REPLY, 0);

    CHECK(peer_make(peer_echo, endpoint, reply));
    sys_yield();
    struct counts before = read_counts();
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct sys_message m = { .tag = TAG(1, words) };
        uint64_t start = now();
        err_t e = sys_call(endpoint, &m);
        samples[i] = now() - start - clock_cost();
        CHECK_OK(e);
    }
    struct counts after = read_counts();
    show(name, &before, &after);
}

TEST(ipc_call_reply_0w)
{
    call_reply("ipc.call_reply_0w", 0);
}
TEST(ipc_call_reply_4w)
{
    call_reply("ipc.call_reply_4w", 4);
}
TEST(ipc_call_reply_16w)
{
    call_reply("ipc.call_reply_16w", 16);
}

static struct counts fault_before, fault_after;
static cptr_t fault_done;

static void faulting(uint64_t unused)
{
    (void)unused;
    __asm__ volatile("ud2");
    fault_before = read_counts();
    for (unsigned i = 0; i < ROUNDS; i++) {
        uint64_t start = now();
        __asm__ volatile("ud2" : : : "memory");
        samples[i] = now() - start - clock_cost();
    }
    fault_after = read_counts();
    sys_signal(fault_done);
    for (;;)
        sys_yield();
}

TEST(ipc_fault_reply)
{
    cptr_t endpoint = new_object(OBJ_ENDPOINT, 0), reply = new_object(OBJ_REPLY, 0);
    struct thread t;

    fault_done = new_object(OBJ_NOTIFICATION, 0);
    CHECK(peer_make(peer_fault, endpoint, reply));
    sys_yield();
    CHECK(thread_make(&t, faulting, 0, 255, endpoint));
    CHECK(sys_wait(fault_done));
    show("ipc.fault_reply", &fault_before, &fault_after);
}

TEST(ipc_signal)
{
    cptr_t n = new_object(OBJ_NOTIFICATION, 0);
    struct counts before = read_counts();

    for (unsigned i = 0; i < ROUNDS; i++) {
        uint64_t start = now();
        sys_signal(n);
        samples[i] = now() - start - clock_cost();
    }
    struct counts after = read_counts();
    show("ipc.signal", &before, &after);
}

TEST(mem_map_unmap_4k)
{
    cptr_t frame = map_frame(SLOT_VSPACE, COPY_AT, RIGHT_ALL);
    static uint64_t unmap[ROUNDS];
    struct counts zero = { { 0 } };

    for (unsigned i = 0; i < ROUNDS; i++) {
        uint64_t start = now();
        sys_invoke0(frame, FRAME_UNMAP);
        uint64_t middle = now();
        sys_invoke3(frame, FRAME_MAP, SLOT_VSPACE, COPY_AT, RIGHT_ALL);
        samples[i] = now() - middle - clock_cost();
        unmap[i] = middle - start - clock_cost();
    }
    show("mem.map_4k", &zero, &zero);
    for (unsigned i = 0; i < ROUNDS; i++)
        samples[i] = unmap[i];
    show("mem.unmap_4k", &zero, &zero);
}

TEST(cap_revoke_256)
{
    cptr_t parent = new_object(OBJ_ENDPOINT, 0), children = new_slots(256);
    struct counts zero = { { 0 } };

    for (unsigned i = 0; i < ROUNDS; i++) {
        for (unsigned k = 0; k < 256; k++)
            CHECK_OK(sys_invoke3(SLOT_CNODE, CNODE_COPY, children + k, parent, RIGHT_ALL));
        uint64_t start = now();
        sys_invoke1(SLOT_CNODE, CNODE_REVOKE, parent);
        samples[i] = now() - start - clock_cost();
    }
    show("cap.revoke_256", &zero, &zero);
}
