"""Particle picking in cryo-EM micrographs with few labels."""

from __future__ import annotations
