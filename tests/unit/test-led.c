/* SPDX-License-Identifier: GPL-3.0-or-later */
/* led - the lights of an enclosure that is made of files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "hal/led.h"
#include "tests/lib/fakesysfs.h"

#define SES "devices/pci0/host6/target6:0:1/6:0:1:0/enclosure/6:0:1:0"

static struct fake_machine machine;

static void make_enclosure(void)
{
        static const char *const lights[] = { "locate", "fault", "active" };
        char path[256], text[16];

        fake_text(&machine, SES "/id", "0x500056b3\n");
        fake_text(&machine, SES "/components", "4\n");
        for (unsigned slot = 1; slot <= 4; slot++) {
                for (size_t i = 0; i < ARRAY_SIZE(lights); i++) {
                        (void)snprintf(path, sizeof path, SES "/Slot0%u/%s", slot, lights[i]);
                        fake_text(&machine, path, "0");
                }
                (void)snprintf(path, sizeof path, SES "/Slot0%u/slot", slot);
                (void)snprintf(text, sizeof text, "%u\n", slot);
                fake_text(&machine, path, text);
        }
        (void)snprintf(path, sizeof path, "%s/" SES, machine.root);
        fake_link(&machine, "class/enclosure/6:0:1:0", path);
}

static int setup(void **state)
{
        fake_machine_make(&machine);
        make_enclosure();
        return 0;
}

static int teardown(void **state)
{
        fake_machine_remove(&machine);
        return 0;
}

static void check(unsigned slot, const char *locate, const char *fault, const char *active)
{
        const char *const names[] = { "locate", "fault", "active" };
        const char *const want[] = { locate, fault, active };
        char path[256];

        for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
                char *is;

                (void)snprintf(path, sizeof path, SES "/Slot0%u/%s", slot, names[i]);
                is = fake_content(&machine, path);
                assert_string_equal(is, want[i]);
                free(is);
        }
}

static struct hal_led *open_led(const char *text)
{
        struct hal_place place;
        struct hal_led *l = NULL;

        assert_int_equal(hal_place_parse(text, &place, NULL), 0);
        assert_int_equal(hal_led_new(&machine.host, &place, &l), 0);
        return l;
}

static void test_patterns(void **state)
{
        struct hal_led *l = open_led("enclosure:0x500056b3/3");

        assert_int_equal(hal_led_set(l, HAL_LED_ACTIVITY, false), 0);
        check(3, "0", "0", "1");
        assert_int_equal(hal_led_set(l, HAL_LED_FAULT, true), 0);
        check(3, "1", "1", "0");
        assert_int_equal(hal_led_set(l, HAL_LED_FAULT, false), 0);
        check(3, "0", "1", "0");
        assert_int_equal(hal_led_set(l, HAL_LED_SAFE_TO_REMOVE, false), 0);
        check(3, "1", "0", "0");
        assert_int_equal(hal_led_set(l, HAL_LED_OFF, false), 0);
        check(3, "0", "0", "0");
        check(2, "0", "0", "0");
        l = hal_led_free(l);
}

/* What is shown already is not written again; the backplane may read back what it likes. */
static void test_written_once(void **state)
{
        struct hal_led *l = open_led("enclosure:0x500056b3/1");

        assert_int_equal(hal_led_set(l, HAL_LED_FAULT, false), 0);
        fake_text(&machine, SES "/Slot01/fault", "2\n");
        assert_int_equal(hal_led_set(l, HAL_LED_FAULT, false), 0);
        check(1, "0", "2", "0");
        l = hal_led_free(l);
}

static void test_missing(void **state)
{
        struct hal_led *l = open_led("enclosure:0x500056b3/9");
        struct hal_place place = { .kind = HAL_PLACE_USB, .value = "2-1" };
        struct hal_led *none = NULL;

        assert_int_equal(hal_led_set(l, HAL_LED_FAULT, false), -ENOENT);
        assert_int_equal(hal_led_new(NULL, &place, &none), -EINVAL);
        l = hal_led_free(l);
        /* One light is enough; none is told. */
        l = open_led("enclosure:0x500056b3/2");
        fake_drop(&machine, SES "/Slot02/active");
        fake_drop(&machine, SES "/Slot02/locate");
        assert_int_equal(hal_led_set(l, HAL_LED_FAULT, false), 0);
        fake_drop(&machine, SES "/Slot02/fault");
        assert_int_equal(hal_led_set(l, HAL_LED_OFF, false), -ENOENT);
        l = hal_led_free(l);
}

/* The shelf was switched off and on: the light shows again what it should. */
static void test_enclosure_comes_back(void **state)
{
        struct hal_led *l = open_led("enclosure:0x500056b3/4");

        assert_int_equal(hal_led_set(l, HAL_LED_FAULT, false), 0);
        fake_drop(&machine, SES);
        assert_int_equal(hal_led_set(l, HAL_LED_FAULT, false), -ENOENT);
        make_enclosure();
        assert_int_equal(hal_led_set(l, HAL_LED_FAULT, false), 0);
        check(4, "0", "1", "0");
        l = hal_led_free(l);
}

static void test_slot_of_disk(void **state)
{
        char enclosure[HAL_PLACE_MAX];
        uint32_t slot = 0;

        assert_int_equal(hal_led_slot_of(&machine.host, "sdb", enclosure, &slot), -ENOENT);
        fake_text(&machine, SES "/Slot02/device/block/sdb/size", "8\n");
        assert_int_equal(hal_led_slot_of(&machine.host, "sdb", enclosure, &slot), 0);
        assert_string_equal(enclosure, "0x500056b3");
        assert_int_equal(slot, 2);
        fake_drop(&machine, "class");
        assert_int_equal(hal_led_slot_of(&machine.host, "sdb", enclosure, &slot), -ENOENT);
        assert_int_equal(hal_led_pattern_from_string("fault"), HAL_LED_FAULT);
        assert_int_equal(hal_led_pattern_from_string("disco"), _HAL_LED_PATTERN_INVALID);
        assert_null(hal_led_pattern_to_string(_HAL_LED_PATTERN_MAX));
}

#define WITH_MACHINE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                WITH_MACHINE(test_patterns),     WITH_MACHINE(test_written_once),
                WITH_MACHINE(test_missing),      WITH_MACHINE(test_enclosure_comes_back),
                WITH_MACHINE(test_slot_of_disk),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
