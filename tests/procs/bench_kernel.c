/* SPDX-License-Identifier: BSD-2-Clause */
/* Figures of single operations of the kernel, in instructions under -icount (TSC ticks), medians of many
 * rounds. Lines: BENCH name value unit key=value.. with the crossings of one round. */
// ICOUNT: 1
#include "support/bench.h"

#define FRAME_AT 0x18000000ul

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

static void call_reply(const char *name, unsigned words)
{
    cptr_t endpoint = new_object(OBJ_ENDPOINT, 0), reply = new_object(OBJ_REPLY, 0);
    struct peer p;

    CHECK(peer_make(&p, peer_echo, 255, endpoint, reply));
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
    struct peer p;

    fault_done = new_object(OBJ_NOTIFICATION, 0);
    CHECK(peer_make(&p, peer_fault, 255, endpoint, reply));
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
    cptr_t frame = map_frame(SLOT_VSPACE, FRAME_AT, RIGHT_ALL);
    static uint64_t unmap[ROUNDS];

    for (unsigned i = 0; i < ROUNDS; i++) {
        uint64_t start = now();
        sys_invoke0(frame, FRAME_UNMAP);
        uint64_t middle = now();
        sys_invoke3(frame, FRAME_MAP, SLOT_VSPACE, FRAME_AT, RIGHT_ALL);
        samples[i] = now() - middle - clock_cost();
        unmap[i] = middle - start - clock_cost();
    }
    struct counts mapped = read_counts();
    CHECK_OK(sys_invoke0(frame, FRAME_UNMAP));
    struct counts unmapped = read_counts();
    CHECK_OK(sys_invoke3(frame, FRAME_MAP, SLOT_VSPACE, FRAME_AT, RIGHT_ALL));
    struct counts again = read_counts();
    show_once("mem.map_4k", &unmapped, &again, 1);
    for (unsigned i = 0; i < ROUNDS; i++)
        samples[i] = unmap[i];
    show_once("mem.unmap_4k", &mapped, &unmapped, 1);
}

TEST(cap_revoke_256)
{
    cptr_t parent = new_object(OBJ_ENDPOINT, 0), children = new_slots(256);
    struct counts before, after;

    for (unsigned i = 0; i < ROUNDS; i++) {
        for (unsigned k = 0; k < 256; k++)
            CHECK_OK(sys_invoke3(SLOT_CNODE, CNODE_COPY, children + k, parent, RIGHT_ALL));
        before = read_counts();
        uint64_t start = now();
        sys_invoke1(SLOT_CNODE, CNODE_REVOKE, parent);
        samples[i] = now() - start - clock_cost();
        after = read_counts();
    }
    show_once("cap.revoke_256", &before, &after, 1);
}

/* Device memory: of the untyped memory that there is, only it is never cleared, so this is what remains of a
 * Retype whose memory is known to be clean. */
static cptr_t device_untyped(void)
{
    for (unsigned i = 0; i < boot->untyped_count; i++)
        if (boot->untyped[i].device && boot->untyped[i].bits >= 20)
            return boot->untyped[i].cap;
    return 0;
}

TEST(mem_retype_256_frames)
{
    cptr_t from = device_untyped(), piece = new_slot(), frames = new_slots(256);
    struct counts before, after;

    CHECK_OK(sys_retype(IPC, from, OBJ_UNTYPED, 20, SLOT_CNODE, piece, 1));
    for (unsigned i = 0; i < ROUNDS; i++) {
        before = read_counts();
        uint64_t start = now();
        err_t e = sys_retype(IPC, piece, OBJ_FRAME, FRAME_4K, SLOT_CNODE, frames, 256);
        samples[i] = now() - start - clock_cost();
        after = read_counts();
        CHECK_OK(e);
        CHECK_OK(sys_invoke1(SLOT_CNODE, CNODE_REVOKE, piece));
    }
    show_once("mem.retype_256_frames", &before, &after, 1);
}
