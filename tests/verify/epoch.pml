/* SPDX-License-Identifier: BSD-2-Clause */
/* Guest memory and shadow tables that are taken away while guests run: epochs, downgrades, cached roots and ASIDs (I3).
 *
 * A VM with one vCPU, two roots that share the table below them, one guest frame. A TLB keeps, for each ASID, a translation and
 * the way to the table; it may load either whenever the guest runs. memmgr takes the frame away, init the table or root 0;
 * each comes back with another owner in between. With CPUS 1 this is what the kernel does. With more it is the rule for a kernel of
 * several processors, which is not written: memory is used again only when no processor is in an earlier epoch. */
#ifndef CPUS
#define CPUS 1
#endif
#ifndef TAKES
#define TAKES 1
#endif
#ifndef DOWNGRADES
#define DOWNGRADES 1
#endif
#ifndef ASIDS
#define ASIDS 2 /* the processor's number of them, without 0 */
#endif
#ifndef ROOTS
#define ROOTS 2
#endif
#define NONE 2 /* no frame */
#define TLB(c, a) ((c) * (ASIDS + 1) + (a))
#define ROOT(c, r) ((c) * ROOTS + (r))

/* The GuestSpace, and who has the memory: true while it is this VM's. */
byte epoch = 1, space = 0;
bool frame_ours[2] = true;
bool table_ours = true, table_cap = true, root_ours = true, root_cap = true; /* root: 0; cap: the VMM can name it */
/* The VM's shadow tables: the one leaf, its rights, the links of the two roots, and the stamps. */
byte leaf = NONE, table_epoch, root_epoch[ROOTS];
bool leaf_writable, link[ROOTS], table_used, root_used; /* root_used: as a root, or it holds links */
byte downgrades;
/* The vCPU: which root, on which processor it runs (CPUS: on none). What a root owes to each processor's TLB. */
byte root, root_set, runs_on = CPUS, saw[CPUS * ROOTS], asid[CPUS * ROOTS];
/* Each processor: next ASID, epoch of its guest (0: in none), what its TLB holds. */
byte next_asid[CPUS] = 1, guest_epoch[CPUS];
byte cached[CPUS * (ASIDS + 1)] = NONE;
bool cached_writable[CPUS * (ASIDS + 1)], walked[CPUS * (ASIDS + 1)];
/* The VMM's window on guest memory: whether its address space is loaded, what the TLB holds of it. */
byte window_epoch[CPUS], window[CPUS] = NONE;
byte takes = TAKES, downs = DOWNGRADES;
bool used_taken_frame, used_taken_table, used_window, stale;

ltl frames { [] (!used_taken_frame && !used_window) }
ltl tables { [] !used_taken_table }
ltl downgraded { [] !stale }

/* C: kernel/arch/x86_64/svm.c prepare_root */
inline new_asid(c, r)
{
    if
    :: next_asid[c] > ASIDS -> /* all of this processor's: nothing of any generation before is in its TLB */
        next_asid[c] = 1;
        for (i : 0 .. ROOTS - 1) { asid[ROOT(c, i)] = 0 }
        for (i : 1 .. ASIDS) { cached[TLB(c, i)] = NONE; cached_writable[TLB(c, i)] = false; walked[TLB(c, i)] = false }
    :: else -> skip
    fi;
    asid[ROOT(c, r)] = next_asid[c];
    next_asid[c]++;
    saw[ROOT(c, r)] = downgrades;
    i = 0
}

/* Two roots with one table: a fill of one is seen through the other. One operation each of a reply.
 * C: kernel/obj/shadow.c op_setup
 * C: kernel/obj/shadow.c op_link
 * C: kernel/obj/shadow.c fill: next_frame ; ERR_NOT_IN_GUEST
 * C: kernel/obj/shadow.c op_downgrade: downgraded = true
 * C: kernel/obj/root.c op_set_root
 * C: kernel/obj/root.c root_hold: META_SHADOW_USED
 * C: kernel/obj/root.c root_enter
 * C: kernel/obj/shadow.c know_current: ERR_STALE_TABLE
 * C: kernel/obj/shadow.c drop_entry: downgraded = true */
inline operation()
{
    if
    :: table_cap && table_epoch != epoch -> /* OP_SETUP */
        d_step { leaf = NONE; leaf_writable = false; table_epoch = epoch; table_used = false }
    :: table_cap && table_epoch == epoch && space != NONE && (leaf == NONE || leaf == space) -> /* OP_FILL */
        d_step { leaf = space; leaf_writable = true }
#if DOWNGRADES > 0
    :: table_epoch == epoch && leaf != NONE && leaf_writable && downs > 0 -> /* OP_DOWNGRADE */
        d_step { leaf_writable = false; downgrades++; downs-- }
    :: table_epoch == epoch && leaf != NONE && downs > 0 -> /* OP_CLEAR */
        d_step { leaf = NONE; leaf_writable = false; downgrades++; downs-- }
    :: root_epoch[0] == epoch && link[0] && downs > 0 -> d_step { link[0] = false; downgrades++; downs-- }
#endif
    :: root_cap && root_epoch[0] != epoch -> d_step { root_epoch[0] = epoch; link[0] = false; root_used = false }
    :: table_cap && table_epoch == epoch && root_epoch[0] == epoch && !link[0] ->
        d_step { link[0] = true; table_used = true; root_used = true }
#if ROOTS > 1
    :: root_epoch[1] != epoch -> d_step { root_epoch[1] = epoch; link[1] = false }
    :: table_cap && table_epoch == epoch && root_epoch[1] == epoch && !link[1] -> d_step { link[1] = true; table_used = true }
    :: root_epoch[1] == epoch && (root != 1 || root_set != epoch) -> set_root(1)
#endif
    :: root_epoch[0] == epoch && (root != 0 || root_set != epoch) -> set_root(0); root_used = true
    fi
}

/* A root of a new epoch is a new one, that has no ASID; within an epoch it keeps what it had (the root list). */
inline set_root(r)
{
    if
    :: root_set != epoch ->
        for (i : 0 .. CPUS * ROOTS - 1) { asid[i] = 0 }
#if ROOTS > 1
    :: else -> skip
#endif
    fi;
    root = r; root_set = epoch; i = 0
}

/* C: kernel/obj/guestspace.c change: perform_narrow ; guestspace_bump
 * C: kernel/obj/guestspace.c guestspace_bump: unique_number() ; arch_flush_space */
inline bump(c)
{
    d_step { epoch++; window[c] = NONE }
}

/* What is to be waited for, with several processors. With one, nobody else is anywhere. */
inline wait_for_all(c)
{
    i = 0;
    do
    :: i < CPUS ->
        i == c || ((guest_epoch[i] == 0 || guest_epoch[i] == epoch) && (window_epoch[i] == 0 || window_epoch[i] == epoch));
        i++
    :: else -> break
    od;
    i = 0
}

proctype processor(byte c)
{
    byte i, a, f;

end_loop:
    do
    /* The VMM's thread: its address space is loaded, which empties the TLB of it (no PCID). */
    :: atomic { runs_on == CPUS && window_epoch[c] == 0 -> runs_on = c; window_epoch[c] = epoch; window[c] = NONE }
    /* With several processors a stale window's space is left when another one waits for it. */
    :: runs_on == c && guest_epoch[c] == 0 && window_epoch[c] != 0 ->
        if
        :: window[c] == NONE && space != NONE -> window[c] = space
        :: window[c] != NONE -> used_window = used_window || !frame_ours[window[c]]
        :: atomic { operation() }
        :: d_step { window_epoch[c] = 0; runs_on = CPUS } /* it waits, another processor may have it next */
#if CPUS > 1
        :: window_epoch[c] != epoch -> d_step { window_epoch[c] = epoch; window[c] = NONE }
#endif
        /* The answer: the guest is entered on a root of this epoch only.
         * C: kernel/obj/vcpu.c vcpu_run: root.epoch ; EXIT_ROOT ; arch_vcpu_run */
        :: atomic {
            root_set == epoch ->
            if
            :: asid[ROOT(c, root)] == 0 || saw[ROOT(c, root)] != downgrades -> new_asid(c, root)
            :: else -> skip
            fi;
            a = asid[ROOT(c, root)];
            stale = stale || (cached[TLB(c, a)] != NONE && (cached[TLB(c, a)] != leaf ||
                                                            (cached_writable[TLB(c, a)] && !leaf_writable))) ||
                    (walked[TLB(c, a)] && !link[root]);
            guest_epoch[c] = epoch
        }
        fi
    /* The guest: walks, uses what the TLB holds, exits at any time (another processor's wish, too). */
    :: guest_epoch[c] != 0 ->
        if
        :: d_step {
            used_taken_table = used_taken_table || (root == 0 && !root_ours);
            walked[TLB(c, a)] = walked[TLB(c, a)] || link[root]
        }
        :: walked[TLB(c, a)] ->
            atomic {
                used_taken_table = used_taken_table || !table_ours;
                if
                :: leaf != NONE && table_ours -> cached[TLB(c, a)] = leaf; cached_writable[TLB(c, a)] = leaf_writable
                :: else -> skip
                fi
            }
        :: cached[TLB(c, a)] != NONE ->
            used_taken_frame = used_taken_frame || !frame_ours[cached[TLB(c, a)]]
        :: d_step { guest_epoch[c] = 0; a = 0 }
        fi
    /* memmgr's thread, on a processor that runs nobody else: takes the frame away, another one comes.
     * C: kernel/obj/guestspace.c perform_narrow */
    :: atomic { takes > 0 && runs_on != c && space != NONE -> takes--; f = space; space = NONE }
        bump(c);
        wait_for_all(c);
        frame_ours[f] = false;
        d_step { frame_ours[1 - f] = true; space = 1 - f; f = 0 }
    /* init's: the table goes, or root 0.
     * C: kernel/obj/shadow.c shadow_finalise: META_SHADOW_BLOCKS ; META_SHADOW_USED ; lives_in ; guestspace_bump */
    :: atomic {
        takes > 0 && runs_on != c && table_cap && table_epoch != 0 ->
        takes--;
        table_cap = false;
        if
        :: table_used && table_epoch == epoch -> bump(c)
        :: else -> skip
        fi;
        table_epoch = 0
    }
        wait_for_all(c);
        table_ours = false
    :: atomic { !table_ours -> table_ours = true; table_cap = true; leaf = NONE; leaf_writable = false; table_used = false }
    :: atomic {
        takes > 0 && runs_on != c && root_cap && root_epoch[0] != 0 ->
        takes--;
        root_cap = false;
        if
        :: root_used && root_epoch[0] == epoch -> bump(c)
        :: else -> skip
        fi;
        root_epoch[0] = 0
    }
        wait_for_all(c);
        root_ours = false
    :: atomic { !root_ours -> root_ours = true; root_cap = true; link[0] = false; root_used = false }
    od
}

init {
    byte c;
    atomic { for (c : 0 .. CPUS - 1) { run processor(c) } }
}
