/* SPDX-License-Identifier: GPL-3.0-or-later */
/* names - every name that other programs see: journal fields, message ids, environment. */
#pragma once

#define BTH_FIELD_BAY          "BERTH_BAY"
#define BTH_FIELD_DRIVE_SERIAL "BERTH_DRIVE_SERIAL"
#define BTH_FIELD_JOB          "BERTH_JOB"
#define BTH_FIELD_BLOB         "BERTH_BLOB"
#define BTH_FIELD_REASON       "BERTH_REASON"
#define BTH_FIELD_OBJECT       "BERTH_OBJECT"

/* Where berthctl finds the station's socket, instead of /run/berth/berthd.sock. */
#define BTH_ENV_SOCKET "BERTH_SOCKET"
