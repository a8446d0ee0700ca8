"""Tells a home's MQTT broker that the owner came, was refused or left: the kind of the event and its time, no more.

mqtt_event.py VAULT BROKER, with the key opened before by `facesdk unlock`; needs paho-mqtt 2. Switch on a lamp by it,
but open nothing: whoever may publish on the topic can say the same."""

import json
import signal
import sys
from datetime import datetime, timezone

import paho.mqtt.client as mqtt

from facesdk import FaceVerifier
from facesdk.camera import open_camera
from facesdk.views import open_view

CAMERA, VIEW, TOPIC, TLS_PORT = "0", "terminal", "facesdk/hall", 8883

for number in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, lambda number, _frame: sys.exit(128 + number))
client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
client.tls_set()  # the broker's certificate is checked, and nobody on the way reads who is at home
client.connect(sys.argv[2], TLS_PORT)
client.loop_start()
try:
    with (
        FaceVerifier(sys.argv[1], keyring=True) as verifier, open_camera(CAMERA) as camera, open_view(VIEW) as view,
        verifier.watch("owner", camera, purpose="hall", challenge=view.challenge, on_progress=view.show) as watch,
    ):  # fmt: skip
        for event in watch:
            now = datetime.now(timezone.utc).isoformat(timespec="seconds")
            client.publish(TOPIC, json.dumps({"event": event.kind.name.lower(), "time": now}), qos=1)
finally:
    client.disconnect()
    client.loop_stop()
