"""The Auth service's requests against the auth store: each as the method that carries it out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from google.protobuf.message import Message

from kvstore.auth import AuthStore, PermissionNotGivenError
from kvstore.etcdpb import raft_internal_pb2
from kvstore.etcdpb import rpc_pb2 as pb

__all__ = ["AuthRequests"]


class AuthRequests:
    """A table from the fields of `InternalRaftRequest` to methods, which answer without a header.

    Each raises `AuthError` for what the store refuses, in which case nothing was changed.
    """

    def __init__(self, auth: AuthStore) -> None:
        self._auth = auth
        self.methods: dict[str, Callable[[Any], Message]] = {
            "auth_enable": self._enable,
            "auth_disable": self._disable,
            "auth_status": self._status,
            "authenticate": self._authenticate,
            "auth_user_add": self._user_add,
            "auth_user_get": self._user_get,
            "auth_user_list": self._user_list,
            "auth_user_delete": self._user_delete,
            "auth_user_change_password": self._user_change_password,
            "auth_user_grant_role": self._user_grant_role,
            "auth_user_revoke_role": self._user_revoke_role,
            "auth_role_add": self._role_add,
            "auth_role_get": self._role_get,
            "auth_role_list": self._role_list,
            "auth_role_delete": self._role_delete,
            "auth_role_grant_permission": self._role_grant_permission,
            "auth_role_revoke_permission": self._role_revoke_permission,
        }

    def _enable(self, request: pb.AuthEnableRequest) -> pb.AuthEnableResponse:
        self._auth.enable()
        return pb.AuthEnableResponse()

    def _disable(self, request: pb.AuthDisableRequest) -> pb.AuthDisableResponse:
        self._auth.disable()
        return pb.AuthDisableResponse()

    def _status(self, request: pb.AuthStatusRequest) -> pb.AuthStatusResponse:
        return pb.AuthStatusResponse(enabled=self._auth.enabled, authRevision=self._auth.revision)

    def _authenticate(self, request: raft_internal_pb2.InternalAuthenticateRequest) -> pb.AuthenticateResponse:
        return pb.AuthenticateResponse(token=self._auth.authenticate(request.name, request.simple_token))

    def _user_add(self, request: pb.AuthUserAddRequest) -> pb.AuthUserAddResponse:
        options = request.options if request.HasField("options") else None
        self._auth.add_user(request.name, request.password, request.hashedPassword, options)
        return pb.AuthUserAddResponse()

    def _user_get(self, request: pb.AuthUserGetRequest) -> pb.AuthUserGetResponse:
        return pb.AuthUserGetResponse(roles=self._auth.user_roles(request.name))

    def _user_list(self, request: pb.AuthUserListRequest) -> pb.AuthUserListResponse:
        return pb.AuthUserListResponse(users=self._auth.users())

    def _user_delete(self, request: pb.AuthUserDeleteRequest) -> pb.AuthUserDeleteResponse:
        self._auth.delete_user(request.name)
        return pb.AuthUserDeleteResponse()

    def _user_change_password(self, request: pb.AuthUserChangePasswordRequest) -> pb.AuthUserChangePasswordResponse:
        self._auth.change_password(request.name, request.password, request.hashedPassword)
        return pb.AuthUserChangePasswordResponse()

    def _user_grant_role(self, request: pb.AuthUserGrantRoleRequest) -> pb.AuthUserGrantRoleResponse:
        self._auth.grant_role(request.user, request.role)
        return pb.AuthUserGrantRoleResponse()

    def _user_revoke_role(self, request: pb.AuthUserRevokeRoleRequest) -> pb.AuthUserRevokeRoleResponse:
        self._auth.revoke_role(request.name, request.role)
        return pb.AuthUserRevokeRoleResponse()

    def _role_add(self, request: pb.AuthRoleAddRequest) -> pb.AuthRoleAddResponse:
        self._auth.add_role(request.name)
        return pb.AuthRoleAddResponse()

    def _role_get(self, request: pb.AuthRoleGetRequest) -> pb.AuthRoleGetResponse:
        return pb.AuthRoleGetResponse(perm=self._auth.role_permissions(request.role))

    def _role_list(self, request: pb.AuthRoleListRequest) -> pb.AuthRoleListResponse:
        return pb.AuthRoleListResponse(roles=self._auth.roles())

    def _role_delete(self, request: pb.AuthRoleDeleteRequest) -> pb.AuthRoleDeleteResponse:
        self._auth.delete_role(request.role)
        return pb.AuthRoleDeleteResponse()

    def _role_grant_permission(self, request: pb.AuthRoleGrantPermissionRequest) -> pb.AuthRoleGrantPermissionResponse:
        if not request.HasField("perm"):
            raise PermissionNotGivenError
        self._auth.grant_permission(request.name, request.perm)
        return pb.AuthRoleGrantPermissionResponse()

    def _role_revoke_permission(
        self, request: pb.AuthRoleRevokePermissionRequest
    ) -> pb.AuthRoleRevokePermissionResponse:
        self._auth.revoke_permission(request.role, request.key, request.range_end)
        return pb.AuthRoleRevokePermissionResponse()
