/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "hal/udev.h"

#include <stdio.h>
#include <string.h>
#include <systemd/sd-device.h>

#include "base/log.h"
#include "base/str.h"
#include "hal/led.h"

#define RECEIVE_BYTES \
        ((size_t)1 << 20) /* a shelf of drives switched on sends many events at once */

struct hal_udev {
        struct hal_hotplug *hotplug;
        sd_device_monitor *monitor;
};

static const char *property(sd_device *d, const char *name)
{
        const char *value;

        return sd_device_get_property_value(d, name, &value) >= 0 ? value : NULL;
}

/* Is it the disk of a drive that somebody could dock? */
static bool is_drive(sd_device *d)
{
        const char *path, *type, *name;

        if (sd_device_get_syspath(d, &path) < 0 || sd_device_get_devtype(d, &type) < 0 ||
            sd_device_get_sysname(d, &name) < 0 || !bth_streq(type, "disk"))
                return false;
        /* NVMe drives with several controllers hang below a virtual subsystem. */
        if (strstr(path, "/devices/virtual/") && !strstr(path, "/nvme-subsystem/"))
                return false;
        return !bth_starts_with(name, "loop") && !bth_starts_with(name, "sr") &&
               !bth_starts_with(name, "fd") && !bth_streq(property(d, "ID_CDROM"), "1");
}

static void copy(char out[HAL_PLACE_MAX], const char *text)
{
        /* What does not fit cannot be configured either. */
        if (text && strlen(text) < HAL_PLACE_MAX)
                memcpy(out, text, strlen(text) + 1);
}

static void locate(const struct hal_hotplug *h, sd_device *d, struct hal_whereabouts *w)
{
        const char *name;
        sd_device *port;

        copy(w->id_path, property(d, "ID_PATH"));
        /* The parent belongs to the device: no reference to drop. */
        if (sd_device_get_parent_with_subsystem_devtype(d, "usb", "usb_device", &port) >= 0 &&
            sd_device_get_sysname(port, &name) >= 0)
                copy(w->usb_port, name);
        if (sd_device_get_sysname(d, &name) < 0 ||
            hal_led_slot_of(hal_hotplug_host(h), name, w->enclosure, &w->slot) < 0)
                w->enclosure[0] = '\0';
}

static uint64_t sequence_of(sd_device *d)
{
        const char *text = property(d, "DISKSEQ");
        uint64_t sequence = 0;

        if ((!text || bth_parse_u64(text, &sequence) < 0) &&
            (sd_device_get_sysattr_value(d, "diskseq", &text) < 0 ||
             bth_parse_u64(text, &sequence) < 0))
                return 0;
        return sequence;
}

static void report(struct hal_hotplug *h, sd_device *d)
{
        struct hal_sighting s = { .sequence = sequence_of(d) };
        int r;

        if (!is_drive(d) || sd_device_get_devname(d, &s.node) < 0 ||
            sd_device_get_devnum(d, &s.device) < 0)
                return;
        locate(h, d, &s.where);
        s.hints = (struct hal_udev_hints){ .id_bus = property(d, "ID_BUS"),
                                           .id_scsi_serial = property(d, "ID_SCSI_SERIAL"),
                                           .id_serial_short = property(d, "ID_SERIAL_SHORT") };
        r = hal_hotplug_appear(h, &s);
        if (r < 0)
                bth_debug("%s cannot be docked: %s, ignoring", s.node, bth_strerror(r));
}

static int on_event(sd_device_monitor *monitor, sd_device *d, void *userdata)
{
        struct hal_udev *u = userdata;
        sd_device_action_t action;
        const char *node;

        if (sd_device_get_action(d, &action) < 0)
                return 0;
        if (action != SD_DEVICE_REMOVE)
                report(u->hotplug, d);
        else if (sd_device_get_devname(d, &node) >= 0)
                hal_hotplug_vanish(u->hotplug, node, sequence_of(d));
        return 0;
}

int hal_udev_look(struct hal_udev *u)
{
        sd_device_enumerator *e = NULL;
        int r = sd_device_enumerator_new(&e);

        if (r >= 0)
                r = sd_device_enumerator_add_match_subsystem(e, "block", 1);
        if (r >= 0)
                r = sd_device_enumerator_allow_uninitialized(e);
        if (r >= 0) {
                sd_device *d = sd_device_enumerator_get_device_first(e);

                hal_hotplug_look_begin(u->hotplug, NULL);
                for (; d; d = sd_device_enumerator_get_device_next(e))
                        report(u->hotplug, d);
                hal_hotplug_look_end(u->hotplug, NULL);
        }
        (void)sd_device_enumerator_unref(e);
        return r < 0 ? r : 0;
}

static int listen_to(struct hal_udev *u)
{
        int r = sd_device_monitor_new(&u->monitor);

        if (r >= 0)
                (void)sd_device_monitor_set_receive_buffer_size(u->monitor, RECEIVE_BYTES);
        if (r >= 0)
                r = sd_device_monitor_filter_add_match_subsystem_devtype(u->monitor, "block",
                                                                         "disk");
        if (r >= 0)
                r = sd_device_monitor_attach_event(u->monitor, hal_hotplug_loop(u->hotplug));
        if (r >= 0)
                r = sd_device_monitor_start(u->monitor, on_event, u);
        return r < 0 ? r : 0;
}

int hal_udev_new(struct hal_hotplug *hotplug, struct hal_udev **ret_udev, struct bth_error *error)
{
        struct hal_udev *u = calloc(1, sizeof *u);
        int r = u ? 0 : -ENOMEM;

        if (u) {
                u->hotplug = hotplug;
                /* First listen, then look: what comes in between is seen twice, and not missed. */
                r = listen_to(u);
        }
        if (r == 0)
                r = hal_udev_look(u);
        if (r < 0) {
                (void)hal_udev_free(u);
                return bth_error_set(error, r, BTH_REASON_INTERNAL, "drives cannot be watched: %s",
                                     bth_strerror(r));
        }
        *ret_udev = u;
        return 0;
}

struct hal_udev *hal_udev_free(struct hal_udev *u)
{
        if (!u)
                return NULL;
        (void)sd_device_monitor_unref(u->monitor);
        free(u);
        return NULL;
}
