"""Roles and rooms of an identity."""

from __future__ import annotations

from liveroom.protocol.commands import COMMAND_TYPES
from liveroom.server.room.identity import COMMAND_ROLES, Identity, Role


def test_every_command_has_a_role() -> None:
    """No command can be added without saying who may send it, and no row is left of one that is gone."""
    assert set(COMMAND_ROLES) == set(COMMAND_TYPES)


def test_roles_rise() -> None:
    """Each role may do what those before it may."""
    assert Role.VIEWER < Role.HOST < Role.SERVICE


def test_an_identity_is_good_for_its_room_or_for_any() -> None:
    """A token for one room opens no other; one without a room opens all."""
    assert Identity("ann", "Ann", Role.VIEWER, "show").may_enter("show")
    assert not Identity("ann", "Ann", Role.VIEWER, "show").may_enter("other")
    assert Identity("back-end", "", Role.SERVICE, None).may_enter("other")
