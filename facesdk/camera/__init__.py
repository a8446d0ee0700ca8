"""Frames of cameras, pipes, videos and folders behind one FrameSource; a live camera that keeps the newest one."""

from facesdk.camera.files import FolderSource, VideoSource
from facesdk.camera.frame import CapturedFrame, FrameSource
from facesdk.camera.health import Health, StreamHealth
from facesdk.camera.identity import CameraIdentity
from facesdk.camera.listing import ListedCamera, list_cameras
from facesdk.camera.live import LiveCamera
from facesdk.camera.opencv import CameraSource, NetworkSource
from facesdk.camera.picamera import PicameraSource
from facesdk.camera.pipe import PipeSource
from facesdk.camera.reconnect import CameraEvent, CameraEventKind
from facesdk.camera.source import open_camera, open_source

__all__ = [
    "CameraEvent", "CameraEventKind", "CameraIdentity", "CameraSource", "CapturedFrame", "FolderSource", "FrameSource",
    "Health", "ListedCamera", "LiveCamera", "NetworkSource", "PicameraSource", "PipeSource", "StreamHealth",
    "VideoSource", "list_cameras", "open_camera", "open_source",
]  # fmt: skip
