"""Frames from a camera, a video file or a folder of pictures behind one FrameSource."""

from facesdk.camera.source import CapturedFrame, FolderSource, FrameSource, VideoSource, open_source

__all__ = ["CapturedFrame", "FolderSource", "FrameSource", "VideoSource", "open_source"]
