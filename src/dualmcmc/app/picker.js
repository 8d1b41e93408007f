// The value is the number of the checked radio button. The buttons come anew with every picture that is added.
element.addEventListener('change', event => {
  if (event.target.type === 'radio') props.value = event.target.value;
});
watch(['tray', 'value'], () => {
  for (const button of element.querySelectorAll('input[type=radio]')) button.checked = button.value === props.value;
});
