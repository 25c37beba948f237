/* SPDX-License-Identifier: GPL-3.0-or-later */
/* bay - places are read strictly, and a drive is in the bay that names its place best. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "hal/bay.h"

static void test_places(void **state)
{
        static const char *const good[] = {
                "id-path:pci-0000:00:1f.2-ata-2.0",
                "id-path:pci-0000:00:02.0-scsi-0:0:*",
                "enclosure:500056b31234abcd/4",
                "enclosure:6:0:1:0/0",
                "usb:2-1.3",
                "directory:/srv/bays/1",
        };
        static const char *const bad[] = {
                "",
                "pci-0000",
                "id-path:",
                "id-path:*",
                "id-path:a*b",
                "id-path:a b",
                "enclosure:5",
                "enclosure:5/",
                "enclosure:/4",
                "enclosure:5/-1",
                "enclosure:5/4294967296",
                "usb:21",
                "usb:2-1/x",
                "directory:bays",
                "directory:/a/",
                "directory:/a//b",
                "directory:/a/../b",
                "slot:4",
                "a-very-long-kind-of-place:x",
        };
        struct hal_place p;
        struct bth_error e = BTH_ERROR_INIT;
        char text[HAL_PLACE_TEXT_MAX], longest[400];

        for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
                assert_int_equal(hal_place_parse(good[i], &p, &e), 0);
                assert_string_equal(hal_place_to_string(&p, text), good[i]);
        }
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
                assert_int_equal(hal_place_parse(bad[i], &p, &e), -EINVAL);
        memset(longest, 'x', sizeof longest - 1);
        longest[sizeof longest - 1] = '\0';
        memcpy(longest, "directory:/", 11);
        assert_int_equal(hal_place_parse(longest, &p, &e), -EINVAL);
}

static void test_names(void **state)
{
        struct hal_bays b = { 0 };
        struct bth_error e = BTH_ERROR_INIT;
        char name[80];

        assert_int_equal(hal_bays_add(&b, "1", "usb:2-1", &e), 0);
        assert_int_equal(hal_bays_add(&b, "1", "id-path:pci-1", &e), 0);
        assert_int_equal(hal_bays_add(&b, "2", "usb:2-1", &e), -EEXIST);
        assert_non_null(strstr(e.sentence, "bay 1"));
        assert_int_equal(hal_bays_add(&b, "a b", "usb:2-2", &e), -EINVAL);
        assert_int_equal(hal_bays_add(&b, "", "usb:2-2", &e), -EINVAL);
        assert_int_equal(b.n_bays, 1);
        assert_int_equal(b.bays[0].n_places, 2);
        assert_non_null(hal_bay_place(&b.bays[0], HAL_PLACE_USB));
        assert_null(hal_bay_place(&b.bays[0], HAL_PLACE_ENCLOSURE));
        assert_int_equal(hal_bays_add(&b, "1", "usb:2-3", &e), 0);
        assert_int_equal(hal_bays_add(&b, "1", "usb:2-4", &e), 0);
        assert_int_equal(hal_bays_add(&b, "1", "usb:2-5", &e), -E2BIG);
        for (unsigned i = 1; i < HAL_BAYS_MAX; i++) {
                char place[32];

                (void)snprintf(name, sizeof name, "bay-%u", i);
                (void)snprintf(place, sizeof place, "usb:3-%u", i);
                assert_int_equal(hal_bays_add(&b, name, place, &e), 0);
        }
        assert_int_equal(hal_bays_add(&b, "one-more", "usb:4-1", &e), -E2BIG);
        assert_ptr_equal(hal_bays_find(&b, "bay-7"), &b.bays[7]);
        assert_null(hal_bays_find(&b, "bay-0"));
        hal_bays_clear(&b);
        assert_null(hal_bays_find(&b, "1"));
}

static void test_where(void **state)
{
        struct hal_bays b = { 0 };
        struct hal_whereabouts nowhere = { 0 };
        struct hal_whereabouts sata = { .id_path = "pci-0000:00:1f.2-ata-2.0" };
        struct hal_whereabouts sas = { .id_path = "pci-0000:02:00.0-sas-phy3-lun-0",
                                       .enclosure = "500056b3",
                                       .slot = 3 };
        struct hal_whereabouts usb = { .id_path = "pci-0-usb-0:1:1.0-scsi-0:0:0:0",
                                       .usb_port = "2-1" };
        struct hal_place p;

        assert_int_equal(hal_bays_add(&b, "any", "id-path:pci-0000:00:1f.2-ata-*", NULL), 0);
        assert_int_equal(hal_bays_add(&b, "two", "id-path:pci-0000:00:1f.2-ata-2.0", NULL), 0);
        assert_int_equal(hal_bays_add(&b, "slot3", "enclosure:500056b3/3", NULL), 0);
        assert_int_equal(hal_bays_add(&b, "front", "usb:2-1", NULL), 0);
        assert_string_equal(hal_bays_at(&b, &sata)->name, "two");
        sata.id_path[strlen(sata.id_path) - 3] = '3';
        assert_string_equal(hal_bays_at(&b, &sata)->name, "any");
        assert_string_equal(hal_bays_at(&b, &sas)->name, "slot3");
        sas.slot = 4;
        assert_null(hal_bays_at(&b, &sas));
        assert_string_equal(hal_bays_at(&b, &usb)->name, "front");
        assert_null(hal_bays_at(&b, &nowhere));

        assert_int_equal(hal_whereabouts_to_place(&sas, &p), 0);
        assert_true(p.kind == HAL_PLACE_ENCLOSURE && p.slot == 4);
        assert_int_equal(hal_whereabouts_to_place(&usb, &p), 0);
        assert_int_equal(p.kind, HAL_PLACE_USB);
        assert_int_equal(hal_whereabouts_to_place(&nowhere, &p), -ENOENT);
        hal_bays_clear(&b);
}

static void test_udev_rules(void **state)
{
        static const char want[] =
                "# Written from Berth's configuration; changes here are lost.\n"
                "SUBSYSTEM!=\"block\", GOTO=\"berth_bays_end\"\n"
                "ACTION==\"remove\", GOTO=\"berth_bays_end\"\n"
                "ENV{DEVTYPE}!=\"disk\", GOTO=\"berth_bays_end\"\n"
                "ENV{ID_PATH}!=\"?*\", IMPORT{builtin}=\"path_id\"\n"
                "ENV{ID_PATH}==\"pci-1-ata-2\", ENV{BERTH_BAY}=\"one\"\n"
                "SUBSYSTEMS==\"usb\", KERNELS==\"2-1\", ENV{BERTH_BAY}=\"front\"\n";
        struct hal_bays b = { 0 };
        _cleanup_buf_ struct bth_buf rules = BTH_BUF_INIT, more = BTH_BUF_INIT;

        assert_int_equal(hal_bays_add(&b, "one", "id-path:pci-1-ata-2", NULL), 0);
        assert_int_equal(hal_bays_add(&b, "one", "enclosure:5/1", NULL), 0);
        assert_int_equal(hal_bays_add(&b, "front", "usb:2-1", NULL), 0);
        assert_int_equal(hal_bays_add(&b, "virtual", "directory:/srv/1", NULL), 0);
        assert_int_equal(hal_bays_udev_rules(&b, &rules), 0);
        assert_memory_equal(rules.data, want, strlen(want));
        assert_string_equal(rules.data + strlen(want), "LABEL=\"berth_bays_end\"\n");
        assert_int_equal(hal_bays_add(&b, "slot", "enclosure:5/2", NULL), 0);
        assert_int_equal(hal_bays_udev_rules(&b, &more), -ENOENT);
        assert_non_null(strstr(more.data, "# The bay slot is"));
        hal_bays_clear(&b);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_places),
                cmocka_unit_test(test_names),
                cmocka_unit_test(test_where),
                cmocka_unit_test(test_udev_rules),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
