/* SPDX-License-Identifier: BSD-2-Clause */
/* The segment that a VMM finds when it takes over: the record takes back the guest memory that an unfinished
 * exit wrote, and no other; a state or a record that no VMM wrote is found, and one of another version told
 * from it. */
// USES: servers/vmm/core/*.c servers/vmm/shadow/*.c servers/vmm/x86/*.c servers/vmm/dev/*.c
// USES: servers/vmm/boot/*.c servers/vmm/boot/*.S servers/vmm/policy/*.c tests/host/support/gmem_host.c
// USES: tests/host/core/lasting.c
#include "lasting.h"

/* --- guest memory that was written before the death --- */

/* As emulation does: first written down, then written. */
static void write_guest(uint64_t at, uint64_t value)
{
    CHECK(undo_guest(&vmm.undo, (gpa_t){ at }, get64(at), value, 8));
    put64(at, value);
}

TEST(writes_to_the_same_place_are_taken_back_to_the_first)
{
    begin();
    put64(0x5000, 1);
    io_exit(false, 0x21, 0x55);
    vmm_begin(&vmm);
    for (uint64_t i = 2; i < 5; i++)
        write_guest(0x5000, i);
    another_continues();
    CHECK_EQ(get64(0x5000), 1);
}

/* The second VMM does the exit in another way, and dies, too: what the first one had written down is not
 * taken for the second one's. */
TEST(writes_of_two_vmms_at_one_exit_are_taken_back_to_the_first)
{
    begin();
    put64(0x5000, 1);
    io_exit(false, 0x21, 0x55);
    vmm_begin(&vmm);
    write_guest(0x5000, 2);
    write_guest(0x5000, 3);
    another_continues();
    CHECK_EQ(get64(0x5000), 1);
    vmm_begin(&vmm);
    write_guest(0x5000, 3);
    another_continues();
    CHECK_EQ(get64(0x5000), 1);
}

/* A device or another processor of the guest wrote there after the VMM that died: that is not undone. */
TEST(what_another_wrote_since_stays)
{
    begin();
    put64(0x5000, 1);
    put64(0x5008, 10);
    io_exit(false, 0x21, 0x55);
    vmm_begin(&vmm);
    write_guest(0x5000, 2);
    write_guest(0x5008, 20);
    put64(0x5000, 7);
    another_continues();
    CHECK_EQ(get64(0x5000), 7);
    CHECK_EQ(get64(0x5008), 10);
}

TEST(writes_of_an_answered_exit_stay)
{
    begin();
    put64(0x5000, 1);
    io_exit(false, 0x21, 0x55);
    vmm_begin(&vmm);
    write_guest(0x5000, 2);
    vmm_commit(&vmm);
    io_exit(false, 0x21, 0x56);
    another_continues();
    CHECK_EQ(get64(0x5000), 2);
}

/* --- what was written by nobody --- */

TEST(a_changed_bit_anywhere_in_the_state_is_found)
{
    begin();
    io_exit(false, 0x21, 0x55);
    handle();
    io_exit(false, 0x21, 0x56);
    *before = *now_;
    for (unsigned i = 0; i < VMM_STATE_WORDS * 64; i += 7) {
        *now_ = *before;
        ((uint8_t *)&now_->segment.state)[i / 8] ^= 1 << i % 8;
        incarnate();
        check_note("bit %u", i);
        enum vmm_resume r = vmm_resume(&vmm, &setup, now_->exit.tsc);
        CHECK(r == VMM_CORRUPT || r == VMM_STRANGE);
    }
}

TEST(a_state_of_another_version_is_told_from_a_damaged_one)
{
    begin();
    io_exit(false, 0x21, 0x55);
    now_->segment.state.version++;
    incarnate();
    CHECK_EQ(vmm_resume(&vmm, &setup, now_->exit.tsc), VMM_STRANGE);
}

TEST(a_damaged_record_is_found)
{
    begin();
    io_exit(false, 0x43, 0x34);
    vmm_begin(&vmm);
    vmm_handle(&vmm);
    CHECK_LT(0, vmm.undo.words);
    *before = *now_;
    for (unsigned k = 0; k < vmm.undo.words; k++) {
        *now_ = *before;
        now_->segment.undo.word[k].old ^= 1;
        incarnate();
        CHECK_EQ(vmm_resume(&vmm, &setup, now_->exit.tsc), VMM_CORRUPT);
    }
}

/* A guest that begins again makes exits of the same numbers. */
TEST(records_of_the_guest_before_take_nothing_back)
{
    begin();
    put64(0x5000, 1);
    io_exit(false, 0x43, 0x34);
    vmm_begin(&vmm);
    vmm_handle(&vmm);
    write_guest(0x5000, 2);
    CHECK_LT(0, vmm.undo.words);
    undo_reset(&vmm.undo, now_->exit.seq - 1);
    CHECK_EQ(undo_recover(&vmm.undo, &vmm.mem, now_->exit.seq), UNDO_CLEAN);
    CHECK_EQ(get64(0x5000), 2);
}

TEST(a_state_that_is_not_this_programs_cannot_be_read)
{
    begin();
    CHECK(vmm_can_read(&vmm));
    io_exit(true, 0x40, 0);
    incarnate();
    CHECK(vmm_can_read(&vmm));
    vmm.state->version++;
    CHECK(!vmm_can_read(&vmm));
    vmm.state->version--;
    vmm.state->magic ^= 1; /* as where another layout has something else */
    CHECK(!vmm_can_read(&vmm));
    now_->exit.seq = 1; /* a guest that begins: whatever stands there goes */
    CHECK(vmm_can_read(&vmm));
}
