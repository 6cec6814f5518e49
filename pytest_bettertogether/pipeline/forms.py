"""The prompt forms by the name that recipes use."""

from collections.abc import Mapping

from .chat_form import ChatForm
from .prompt import Form
from .raw_form import RawForm

FORMS: Mapping[str, Form] = {form.name: form for form in (ChatForm(), RawForm())}
