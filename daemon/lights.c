/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/lights.h"

#include "base/log.h"
#include "daemon/aside.h"
#include "hal/led.h"

struct lamp {
        struct dmn_lights *lights;
        const struct hal_bay *bay;
        struct hal_led *led; /* NULL: the bay has none */
        enum job_led wanted, shown, writing;
        bool locate, locate_shown, locate_writing;
        bool known;              /* what it shows */
        struct dmn_aside *aside; /* a write is under way */
        bool told;               /* that it cannot be written */
};

struct dmn_lights {
        sd_event *loop;
        bool ending;
        size_t n_lamps;
        struct lamp lamps[];
};

/* The lamps have no "come here" of their own: the locate lamp says it. */
static enum hal_led_pattern pattern_of(enum job_led led)
{
        switch (led) {
        case JOB_LED_ACTIVITY:
                return HAL_LED_ACTIVITY;
        case JOB_LED_FAULT:
                return HAL_LED_FAULT;
        case JOB_LED_SAFE:
                return HAL_LED_SAFE_TO_REMOVE;
        default:
                return HAL_LED_OFF;
        }
}

static int write_lamp(void *userdata)
{
        struct lamp *l = userdata;

        return hal_led_set(l->led, pattern_of(l->writing),
                           l->locate_writing || l->writing == JOB_LED_LOCATE);
}

static void update(struct lamp *l);

static void on_written(void *userdata, int r)
{
        struct lamp *l = userdata;

        l->aside = NULL;
        l->known = true;
        l->shown = l->writing;
        l->locate_shown = l->locate_writing;
        if (r < 0 && !l->told)
                bth_log(LOG_WARNING, "bay %s: its lamps cannot be written: %s", l->bay->name,
                        bth_strerror(r));
        l->told = r < 0;
        update(l);
}

static void update(struct lamp *l)
{
        if (!l->led || l->aside || l->lights->ending ||
            (l->known && l->shown == l->wanted && l->locate_shown == l->locate))
                return;
        l->writing = l->wanted;
        l->locate_writing = l->locate;
        if (dmn_aside_run(l->lights->loop, write_lamp, on_written, l, &l->aside) < 0)
                l->aside = NULL; /* no memory: the next change tries again */
}

int dmn_lights_new(sd_event *loop, const struct hal_host *host, const struct hal_bays *bays,
                   struct dmn_lights **ret_lights)
{
        _cleanup_(dmn_lights_freep) struct dmn_lights *l =
                calloc(1, sizeof *l + bays->n_bays * sizeof l->lamps[0]);

        if (!l)
                return -ENOMEM;
        l->loop = loop;
        l->n_lamps = bays->n_bays;
        for (size_t i = 0; i < bays->n_bays; i++) {
                const struct hal_place *place = hal_bay_place(&bays->bays[i], HAL_PLACE_ENCLOSURE);

                l->lamps[i] = (struct lamp){ .lights = l, .bay = &bays->bays[i] };
                if (place && hal_led_new(host, place, &l->lamps[i].led) < 0)
                        return -ENOMEM;
        }
        *ret_lights = take_ptr(l);
        return 0;
}

struct dmn_lights *dmn_lights_free(struct dmn_lights *l)
{
        if (!l)
                return NULL;
        l->ending = true;
        for (size_t i = 0; i < l->n_lamps; i++) {
                if (l->lamps[i].aside)
                        dmn_aside_finish(l->lamps[i].aside);
                (void)hal_led_free(l->lamps[i].led);
        }
        free(l);
        return NULL;
}

static struct lamp *lamp_of(const struct dmn_lights *l, const struct hal_bay *bay)
{
        for (size_t i = 0; i < l->n_lamps; i++)
                if (l->lamps[i].bay == bay)
                        return (struct lamp *)&l->lamps[i];
        return NULL;
}

void dmn_lights_show(struct dmn_lights *l, const struct hal_bay *bay, enum job_led led)
{
        struct lamp *lamp = lamp_of(l, bay);

        if (!lamp)
                return;
        lamp->wanted = led;
        update(lamp);
}

void dmn_lights_locate(struct dmn_lights *l, const struct hal_bay *bay, bool on)
{
        struct lamp *lamp = lamp_of(l, bay);

        if (!lamp)
                return;
        lamp->locate = on;
        update(lamp);
}

bool dmn_lights_located(const struct dmn_lights *l, const struct hal_bay *bay)
{
        const struct lamp *lamp = lamp_of(l, bay);

        return lamp && lamp->locate;
}

bool dmn_lights_has(const struct dmn_lights *l, const struct hal_bay *bay)
{
        const struct lamp *lamp = lamp_of(l, bay);

        return lamp && lamp->led;
}
