/* SPDX-License-Identifier: BSD-2-Clause */
/* Formats told apart, and each one's loader. See image.h. */
#include "servers/vmm/boot/image.h"
#include "servers/vmm/boot/bzimage.h"
#include "servers/vmm/boot/flat.h"
#include "servers/vmm/boot/mptable.h"
#include "servers/vmm/boot/multiboot.h"
#include "servers/vmm/boot/pvh.h"

/* A boot sector, of a test; the signature says that what it would load stands behind it. */
static bool flat_is(const uint8_t *image, uint64_t image_bytes)
{
    return image_bytes <= FLAT_BYTES_MAX || (image[510] == 0x55 && image[511] == 0xaa);
}

enum boot_format image_format(const uint8_t *image, uint64_t image_bytes)
{
    uint64_t header;

    if (bzimage_is(image, image_bytes))
        return BOOT_BZIMAGE;
    if (multiboot_find(image, image_bytes, &header))
        return BOOT_MULTIBOOT;
    if (pvh_is(image, image_bytes))
        return BOOT_PVH;
    return flat_is(image, image_bytes) ? BOOT_FLAT : BOOT_FORMATS;
}

static struct bzimage_request bzimage_of(const struct image_request *r)
{
    return (struct bzimage_request){ .image = r->image,
                                     .image_bytes = r->image_bytes,
                                     .initrd_bytes = r->initrd_bytes,
                                     .cmdline = r->cmdline,
                                     .memory_bytes = r->memory_bytes,
                                     .tsc_khz = r->tsc_khz };
}

static struct flat_request flat_of(const struct image_request *r)
{
    return (struct flat_request){
        .image = r->image, .image_bytes = r->image_bytes, .memory_bytes = r->memory_bytes, .mode = FLAT_REAL16
    };
}

struct boot_result image_plan(const struct image_request *r, struct boot_plan *plan)
{
    struct bzimage_request bz = bzimage_of(r);
    struct flat_request flat = flat_of(r);

    switch (image_format(r->image, r->image_bytes)) {
    case BOOT_BZIMAGE:
        return bzimage_plan(&bz, plan);
    case BOOT_MULTIBOOT:
        return multiboot_plan(r, plan);
    case BOOT_PVH:
        return pvh_plan(r, plan);
    case BOOT_FLAT:
        return flat_plan(&flat, plan);
    default:
        return (struct boot_result){ BOOT_UNKNOWN_FORMAT, r->image_bytes, FLAT_BYTES_MAX };
    }
}

bool image_load(const struct image_request *r, const struct boot_plan *plan, const struct boot_memory *m)
{
    struct bzimage_request bz = bzimage_of(r);
    struct flat_request flat = flat_of(r);

    switch (plan->format) {
    case BOOT_BZIMAGE:
    case BOOT_BZIMAGE_REAL:
        return bzimage_load(&bz, plan, m) &&
               (!r->initrd_bytes || boot_load_initrd(plan, m, 0, r->initrd, r->initrd_bytes));
    case BOOT_MULTIBOOT:
        return boot_write_bda(m) && boot_write_mp(m) && multiboot_load(r, plan, m);
    case BOOT_PVH:
        return boot_write_bda(m) && boot_write_mp(m) && pvh_load(r, plan, m);
    default:
        return flat_load(&flat, plan, m);
    }
}
