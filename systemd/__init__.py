"""Unit files and their companions: templates that `evald install-service` fills in (`@NAME@`)."""
