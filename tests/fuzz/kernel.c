/* SPDX-License-Identifier: BSD-2-Clause */
/* Fuzz target: histories of the whole kernel (tests/host/whole/whole.h), STEP_BYTES of the input a step. An
 * invariant that does not hold, a panic and a sanitizer's report are findings. With UMBRA_TRACE set, what
 * each step does goes to standard error: so a finding is read. */
// USES: kernel/obj/a*.c kernel/obj/cnode.c kernel/obj/[d-v]*.c kernel/[dfils]*.c
// USES: tests/host/whole/[!t]*.c tests/host/whole/threads.c tests/host/whole/tree.c
#include "whole/whole.h"
#include <stdlib.h>

#define STEPS_MAX 1000u /* longer inputs are cut: they add little */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ready;

    if (!ready) {
        whole_init();
        whole_trace = getenv("UMBRA_TRACE") != NULL;
        ready = true;
    }
    whole_run(data, size < STEPS_MAX * STEP_BYTES ? size : STEPS_MAX * STEP_BYTES);
    return 0;
}
