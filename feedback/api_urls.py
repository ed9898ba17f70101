from django.urls import path

from . import api

app_name = "feedback_api"
urlpatterns = [path("messages/<uuid:message_id>/rating/", api.RatingView.as_view(), name="rating")]
